import type { AssumptionId } from "../assumptions.ts";
import type { Pointer } from "../../../ffi/foreign.ts";

/** Handles of the runtime, by what they point at. */
export type HandleKind =
  | "compiler_config_options"
  | "compiler"
  | "compiler_options"
  | "program_library"
  | "program_function"
  | "create_options"
  | "operation"
  | "io_port"
  | "buffer_object"
  | "async_event"
  | "stream";
export type Handle<Kind extends HandleKind> = Pointer<`e5rt ${Kind}`>;

interface Prototype {
  readonly c: string;
  readonly source: AssumptionId;
}

const create = (name: string, rest = ""): Prototype => ({
  c: `int64_t ${name}(_Out_ void **${rest})`,
  source: "e5rt.out-first",
});
const release = (name: string): Prototype => ({
  c: `int64_t ${name}(_Inout_ void **)`,
  source: "e5rt.release-address",
});
const plain = (name: string, parameters: string, source: AssumptionId): Prototype => ({
  c: `int64_t ${name}(${parameters})`,
  source,
});

/** Every function the driver calls, once, with where its calling convention is known from. */
export const E5RT_FUNCTIONS = {
  e5rt_e5_compiler_config_options_create: create("e5rt_e5_compiler_config_options_create"),
  e5rt_e5_compiler_config_options_set_cache_bundle_location: plain(
    "e5rt_e5_compiler_config_options_set_cache_bundle_location",
    "void *, const char *",
    "e5rt.cache-reuse",
  ),
  e5rt_e5_compiler_config_options_release: release("e5rt_e5_compiler_config_options_release"),
  e5rt_e5_compiler_create_with_config: create("e5rt_e5_compiler_create_with_config", ", void *"),
  e5rt_e5_compiler_release: release("e5rt_e5_compiler_release"),
  e5rt_e5_compiler_options_create: create("e5rt_e5_compiler_options_create"),
  e5rt_e5_compiler_options_set_compute_device_types_mask: plain(
    "e5rt_e5_compiler_options_set_compute_device_types_mask",
    "void *, uint64_t",
    "e5rt.mask",
  ),
  e5rt_e5_compiler_options_set_force_recompilation: plain(
    "e5rt_e5_compiler_options_set_force_recompilation",
    "void *, int",
    "e5rt.cache-reuse",
  ),
  e5rt_e5_compiler_options_set_segmenter: plain(
    "e5rt_e5_compiler_options_set_segmenter",
    "void *, const char *",
    "e5rt.segmenter",
  ),
  e5rt_e5_compiler_options_release: release("e5rt_e5_compiler_options_release"),
  e5rt_e5_compiler_compile: plain(
    "e5rt_e5_compiler_compile",
    "void *, const char *, void *, _Out_ void **",
    "e5rt.out-first",
  ),
  e5rt_program_library_retain_program_function: plain(
    "e5rt_program_library_retain_program_function",
    "void *, const char *, _Out_ void **",
    "e5rt.function-name",
  ),
  e5rt_program_library_release: release("e5rt_program_library_release"),
  e5rt_program_function_release: release("e5rt_program_function_release"),
  e5rt_precompiled_compute_op_create_options_create_with_program_function: create(
    "e5rt_precompiled_compute_op_create_options_create_with_program_function",
    ", void *",
  ),
  e5rt_precompiled_compute_op_create_options_set_operation_name: plain(
    "e5rt_precompiled_compute_op_create_options_set_operation_name",
    "void *, const char *",
    "e5rt.function-name",
  ),
  e5rt_precompiled_compute_op_create_options_set_allocate_intermediate_buffers: plain(
    "e5rt_precompiled_compute_op_create_options_set_allocate_intermediate_buffers",
    "void *, int",
    "e5rt.function-name",
  ),
  e5rt_precompiled_compute_op_create_options_release: release(
    "e5rt_precompiled_compute_op_create_options_release",
  ),
  e5rt_execution_stream_operation_create_precompiled_compute_operation_with_options: create(
    "e5rt_execution_stream_operation_create_precompiled_compute_operation_with_options",
    ", void *",
  ),
  e5rt_execution_stream_operation_retain_input_port: plain(
    "e5rt_execution_stream_operation_retain_input_port",
    "void *, const char *, _Out_ void **",
    "e5rt.function-name",
  ),
  e5rt_execution_stream_operation_retain_output_port: plain(
    "e5rt_execution_stream_operation_retain_output_port",
    "void *, const char *, _Out_ void **",
    "e5rt.function-name",
  ),
  e5rt_execution_stream_operation_bind_completion_event: plain(
    "e5rt_execution_stream_operation_bind_completion_event",
    "void *, void *",
    "e5rt.event-name",
  ),
  e5rt_execution_stream_operation_release: release("e5rt_execution_stream_operation_release"),
  e5rt_buffer_object_alloc: create("e5rt_buffer_object_alloc", ", uint64_t, uint32_t"),
  e5rt_buffer_object_get_data_ptr: plain(
    "e5rt_buffer_object_get_data_ptr",
    "void *, _Out_ void **",
    "e5rt.buffer",
  ),
  e5rt_buffer_object_release: release("e5rt_buffer_object_release"),
  e5rt_io_port_bind_buffer_object: plain(
    "e5rt_io_port_bind_buffer_object",
    "void *, void *",
    "e5rt.shared-buffer",
  ),
  e5rt_io_port_release: release("e5rt_io_port_release"),
  e5rt_async_event_create: create("e5rt_async_event_create", ", const char *, uint32_t"),
  e5rt_async_event_release: release("e5rt_async_event_release"),
  e5rt_execution_stream_create: create("e5rt_execution_stream_create"),
  e5rt_execution_stream_encode_operation: plain(
    "e5rt_execution_stream_encode_operation",
    "void *, void *",
    "e5rt.stream-order",
  ),
  e5rt_execution_stream_execute_sync: plain(
    "e5rt_execution_stream_execute_sync",
    "void *",
    "e5rt.execute-thread",
  ),
  e5rt_execution_stream_release: release("e5rt_execution_stream_release"),
} as const satisfies Readonly<Record<string, Prototype>>;

export type E5rtName = keyof typeof E5RT_FUNCTIONS;

/** Device mask of the Neural Engine alone (`e5rt.mask`). */
export const NEURAL_ENGINE_MASK = 0x4n;
/** Plain memory (`e5rt.buffer`). */
export const PLAIN_BUFFER = 0;
