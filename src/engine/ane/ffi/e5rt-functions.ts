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

interface Parameters {
  readonly parameters: string;
  readonly source: AssumptionId;
}
interface Prototype {
  readonly c: string;
  readonly source: AssumptionId;
}

const plain = (parameters: string, source: AssumptionId): Parameters => ({ parameters, source });
const create = (rest = ""): Parameters => plain(`_Out_ void **${rest}`, "e5rt.out-first");
const release = (): Parameters => plain("_Inout_ void **", "e5rt.release-address");

/** All of them return a status. */
function prototypes<Name extends string>(rows: Readonly<Record<Name, Parameters>>) {
  return Object.fromEntries(
    Object.entries<Parameters>(rows).map(([name, { parameters, source }]) => [
      name,
      { c: `int64_t ${name}(${parameters})`, source },
    ]),
  ) as Readonly<Record<Name, Prototype>>;
}

/** Every function the driver calls, once, with where its calling convention is known from. */
export const E5RT_FUNCTIONS = prototypes({
  e5rt_e5_compiler_config_options_create: create(),
  e5rt_e5_compiler_config_options_set_cache_bundle_location: plain(
    "void *, const char *",
    "e5rt.cache-reuse",
  ),
  e5rt_e5_compiler_config_options_release: release(),
  e5rt_e5_compiler_create_with_config: create(", void *"),
  e5rt_e5_compiler_release: release(),
  e5rt_e5_compiler_options_create: create(),
  e5rt_e5_compiler_options_set_compute_device_types_mask: plain("void *, uint64_t", "e5rt.mask"),
  e5rt_e5_compiler_options_set_force_recompilation: plain("void *, int", "e5rt.cache-reuse"),
  e5rt_e5_compiler_options_set_segmenter: plain("void *, const char *", "e5rt.segmenter"),
  e5rt_e5_compiler_options_release: release(),
  e5rt_e5_compiler_compile: plain("void *, const char *, void *, _Out_ void **", "e5rt.out-first"),
  e5rt_program_library_retain_program_function: plain(
    "void *, const char *, _Out_ void **",
    "e5rt.function-name",
  ),
  e5rt_program_library_release: release(),
  e5rt_program_function_release: release(),
  e5rt_precompiled_compute_op_create_options_create_with_program_function: create(", void *"),
  e5rt_precompiled_compute_op_create_options_set_operation_name: plain(
    "void *, const char *",
    "e5rt.function-name",
  ),
  e5rt_precompiled_compute_op_create_options_set_allocate_intermediate_buffers: plain(
    "void *, int",
    "e5rt.function-name",
  ),
  e5rt_precompiled_compute_op_create_options_release: release(),
  e5rt_execution_stream_operation_create_precompiled_compute_operation_with_options:
    create(", void *"),
  e5rt_execution_stream_operation_retain_input_port: plain(
    "void *, const char *, _Out_ void **",
    "e5rt.function-name",
  ),
  e5rt_execution_stream_operation_retain_output_port: plain(
    "void *, const char *, _Out_ void **",
    "e5rt.function-name",
  ),
  e5rt_execution_stream_operation_bind_completion_event: plain("void *, void *", "e5rt.event-name"),
  e5rt_execution_stream_operation_release: release(),
  e5rt_buffer_object_alloc: create(", uint64_t, uint32_t"),
  e5rt_buffer_object_get_data_ptr: plain("void *, _Out_ void **", "e5rt.buffer"),
  e5rt_buffer_object_release: release(),
  e5rt_io_port_bind_buffer_object: plain("void *, void *", "e5rt.shared-buffer"),
  e5rt_io_port_release: release(),
  e5rt_async_event_create: create(", const char *, uint32_t"),
  e5rt_async_event_release: release(),
  e5rt_execution_stream_create: create(),
  e5rt_execution_stream_encode_operation: plain("void *, void *", "e5rt.stream-order"),
  e5rt_execution_stream_execute_sync: plain("void *", "e5rt.execute-thread"),
  e5rt_execution_stream_release: release(),
});

export type E5rtName = keyof typeof E5RT_FUNCTIONS;

/** Device mask of the Neural Engine alone (`e5rt.mask`). */
export const NEURAL_ENGINE_MASK = 0x4n;
/** Plain memory (`e5rt.buffer`). */
export const PLAIN_BUFFER = 0;
