/*
 * A stand-in for Espresso's e5rt_* functions: the same names and calling conventions, no engine. It checks the
 * protocol more strictly than the real one is known to, and lets an evaluator lent by the caller do the arithmetic.
 */
#include "double.h"

#define MAGIC 0xE5E5E5E5A11CE000ull
#define PROGRAM_CAP 128
#define ANE_ALONE 0x4
#define STATUS_FAILED 3
#define STATUS_PROTOCOL (-2)

typedef enum {
  KIND_CONFIG,
  KIND_COMPILER,
  KIND_OPTIONS,
  KIND_LIBRARY,
  KIND_FUNCTION,
  KIND_CREATE_OPTIONS,
  KIND_OPERATION,
  KIND_PORT,
  KIND_BUFFER,
  KIND_EVENT,
  KIND_STREAM,
} kind;
static const char *const KIND_NAMES[] = {"config",    "compiler", "options", "library", "function", "create options",
                                         "operation", "port",     "buffer",  "event",   "stream"};

typedef struct object object;
struct object {
  uint64_t magic;
  kind kind;
  int is_live;
  object *owner; /* what must outlive it */
  int users;     /* live objects that name this one as owner */
  /* config, options */
  char text[1024];
  uint64_t mask;
  int is_forced;
  /* library, and through owners all that is made of it */
  program *code;
  /* create options */
  int has_name, has_intermediates;
  /* operation */
  object *bound_inputs[MAXIMUM_PORTS], *bound_outputs[MAXIMUM_PORTS];
  object *event;
  object *stream;
  /* port */
  int is_output;
  uint32_t index;
  /* buffer */
  uint64_t byte_length;
  void *memory;
  uint64_t contents; /* hash, while a stream that uses it executes */
  int is_met;        /* by an operation before this one of the stream */
  /* stream */
  object *operations[128];
  uint32_t operation_count;
};

static long live_count, operation_count, peak_count, compile_count, cache_hit_count, execute_count;
static atomic_int long_calls;

static object *make(kind of, object *owner) {
  object *made = calloc(1, sizeof(object));
  made->magic = MAGIC;
  made->kind = of;
  made->is_live = 1;
  made->owner = owner;
  if (owner != NULL) {
    owner->users++;
    made->code = owner->code;
  }
  live_count++;
  return made;
}

/* The object behind a handle, or NULL with the breach told. */
static object *check(const char *function, void *handle, kind wanted) {
  object *held = handle;
  if (held == NULL) violation("%s: the %s is NULL", function, KIND_NAMES[wanted]);
  else if (((uintptr_t)held & 7) != 0 || held->magic != MAGIC)
    violation("%s: %p is no handle; a %s is wanted", function, handle, KIND_NAMES[wanted]);
  else if (held->kind != wanted)
    violation("%s: a %s is given where a %s is wanted", function, KIND_NAMES[held->kind], KIND_NAMES[wanted]);
  else if (!held->is_live) violation("%s: the %s is released already", function, KIND_NAMES[wanted]);
  else return held;
  return NULL;
}

#define ENTER                                       \
  if (entered(__func__)) return STATUS_FAILED
#define CHECKED(variable, handle, of)               \
  object *variable = check(__func__, handle, of);   \
  if (variable == NULL) return STATUS_PROTOCOL
#define OUT(pointer)                                                     \
  if ((pointer) == NULL) {                                               \
    violation("%s: the out pointer is NULL", __func__);                  \
    return STATUS_PROTOCOL;                                              \
  }
#define RULE(condition, ...)                        \
  if (!(condition)) {                               \
    violation(__VA_ARGS__);                         \
    return STATUS_PROTOCOL;                         \
  }

static int64_t release(const char *function, void **address, kind of) {
  if (entered(function)) return STATUS_FAILED;
  if (address == NULL) {
    violation("%s takes the address of the handle, not NULL", function);
    return STATUS_PROTOCOL;
  }
  object *held = check(function, *address, of);
  if (held == NULL) return STATUS_PROTOCOL;
  if (held->users > 0) {
    violation("%s: the %s is still in use by %d others", function, KIND_NAMES[of], held->users);
    return STATUS_PROTOCOL;
  }
  if (of == KIND_OPERATION && held->stream != NULL && held->stream->is_live) {
    violation("%s: the operation stands on a stream that is not released", function);
    return STATUS_PROTOCOL;
  }
  held->is_live = 0;
  if (held->owner != NULL) held->owner->users--;
  if (of == KIND_OPERATION) operation_count--;
  if (of == KIND_BUFFER) memset(held->memory, 0xDD, held->byte_length);
  live_count--;
  *address = NULL;
  return 0;
}
#define RELEASE(name, of) \
  EXPORT int64_t name(void **address) { return release(__func__, address, of); }

EXPORT int64_t e5rt_e5_compiler_config_options_create(void **config) {
  ENTER;
  OUT(config);
  *config = make(KIND_CONFIG, NULL);
  return 0;
}
EXPORT int64_t e5rt_e5_compiler_config_options_set_cache_bundle_location(void *config, const char *path) {
  ENTER;
  CHECKED(held, config, KIND_CONFIG);
  struct stat status;
  RULE(path != NULL && path[0] == '/' && stat(path, &status) == 0 && S_ISDIR(status.st_mode),
       "%s: \"%s\" is not an absolute path of a folder", __func__, path == NULL ? "NULL" : path);
  snprintf(held->text, sizeof held->text, "%s", path);
  return 0;
}
RELEASE(e5rt_e5_compiler_config_options_release, KIND_CONFIG)

EXPORT int64_t e5rt_e5_compiler_create_with_config(void **compiler, void *config) {
  ENTER;
  OUT(compiler);
  CHECKED(held, config, KIND_CONFIG);
  object *made = make(KIND_COMPILER, NULL);
  memcpy(made->text, held->text, sizeof made->text);
  *compiler = made;
  return 0;
}
RELEASE(e5rt_e5_compiler_release, KIND_COMPILER)

EXPORT int64_t e5rt_e5_compiler_options_create(void **options) {
  ENTER;
  OUT(options);
  *options = make(KIND_OPTIONS, NULL);
  return 0;
}
EXPORT int64_t e5rt_e5_compiler_options_set_compute_device_types_mask(void *options, uint64_t mask) {
  ENTER;
  CHECKED(held, options, KIND_OPTIONS);
  held->mask = mask;
  return 0;
}
EXPORT int64_t e5rt_e5_compiler_options_set_force_recompilation(void *options, int is_forced) {
  ENTER;
  CHECKED(held, options, KIND_OPTIONS);
  RULE(is_forced == 0 || is_forced == 1, "%s: %d is neither 0 nor 1", __func__, is_forced);
  held->is_forced = is_forced;
  return 0;
}
EXPORT int64_t e5rt_e5_compiler_options_set_segmenter(void *options, const char *name) {
  ENTER;
  CHECKED(held, options, KIND_OPTIONS);
  RULE(name != NULL, "%s: the name is NULL", __func__);
  snprintf(held->text, sizeof held->text, "%s", name);
  return 0;
}
RELEASE(e5rt_e5_compiler_options_release, KIND_OPTIONS)

static int64_t compile(object *compiler, const char *path, object *options, void **library) {
  RULE(path != NULL && path[0] == '/', "Invalid E5 path specified");
  RULE(options->mask == ANE_ALONE, "the device mask is 0x%llx: programs could fall back silently",
       (unsigned long long)options->mask);
  RULE(strcmp(options->text, "graph") == 0, "the segmenter is \"%s\"", options->text);
  RULE(compiler->text[0] != 0, "no cache location was set");
  size_t length = strlen(path);
  if (length < 4 || strcmp(path + length - 4, ".mil") != 0) {
    fprintf(stderr, "Invalid E5 path specified: %s\n", path);
    return STATUS_FAILED;
  }
  char *text = read_text(path);
  if (text == NULL) {
    fprintf(stderr, "%s cannot be read\n", path);
    return STATUS_FAILED;
  }
  /* A bundle that another process left is refused, as aned refuses it. */
  char bundle[1200], line[64] = "";
  int is_cached = 0;
  snprintf(bundle, sizeof bundle, "%s/bundle", compiler->text);
  FILE *file = options->is_forced ? NULL : fopen(bundle, "r");
  if (file != NULL) {
    long process = fgets(line, sizeof line, file) == NULL ? 0 : atol(line);
    fclose(file);
    if (process != (long)getpid()) {
      fprintf(stderr, "must re-compile the E5 bundle\n");
      free(text);
      return STATUS_FAILED;
    }
    cache_hit_count++;
    is_cached = 1;
  } else {
    compile_count++;
  }
  program *code = calloc(1, sizeof(program));
  snprintf(code->path, sizeof code->path, "%s", path);
  char folder[1024];
  snprintf(folder, sizeof folder, "%s", path);
  *strrchr(folder, '/') = 0;
  const char *refusal = read_program(text, code);
  if (refusal == NULL) refusal = check_weights(text, folder);
  free(text);
  if (refusal != NULL) return STATUS_FAILED;
  file = is_cached ? NULL : fopen(bundle, "w");
  if (file != NULL) {
    fprintf(file, "%ld\n", (long)getpid());
    fclose(file);
  }
  object *made = make(KIND_LIBRARY, NULL);
  made->code = code;
  *library = made;
  return 0;
}

EXPORT int64_t e5rt_e5_compiler_compile(void *compiler, const char *path, void *options, void **library) {
  ENTER;
  OUT(library);
  CHECKED(held, compiler, KIND_COMPILER);
  CHECKED(chosen, options, KIND_OPTIONS);
  if (atomic_fetch_add(&long_calls, 1) > 0) violation("%s: another long call is under way", __func__);
  int64_t status = compile(held, path, chosen, library);
  atomic_fetch_sub(&long_calls, 1);
  return status;
}

EXPORT int64_t e5rt_program_library_retain_program_function(void *library, const char *name, void **function) {
  ENTER;
  OUT(function);
  CHECKED(held, library, KIND_LIBRARY);
  RULE(name != NULL && strcmp(name, "main") == 0, "%s: there is no function \"%s\"", __func__,
       name == NULL ? "NULL" : name);
  *function = make(KIND_FUNCTION, held);
  return 0;
}
RELEASE(e5rt_program_library_release, KIND_LIBRARY)
RELEASE(e5rt_program_function_release, KIND_FUNCTION)

EXPORT int64_t e5rt_precompiled_compute_op_create_options_create_with_program_function(void **options,
                                                                                       void *function) {
  ENTER;
  OUT(options);
  if (function == NULL) fprintf(stderr, "Cannot provide program function as nullptr\n");
  CHECKED(held, function, KIND_FUNCTION);
  *options = make(KIND_CREATE_OPTIONS, held);
  return 0;
}
EXPORT int64_t e5rt_precompiled_compute_op_create_options_set_operation_name(void *options, const char *name) {
  ENTER;
  CHECKED(held, options, KIND_CREATE_OPTIONS);
  RULE(name != NULL && strcmp(name, "main") == 0, "%s: the name is not main", __func__);
  held->has_name = 1;
  return 0;
}
EXPORT int64_t e5rt_precompiled_compute_op_create_options_set_allocate_intermediate_buffers(void *options,
                                                                                            int wanted) {
  ENTER;
  CHECKED(held, options, KIND_CREATE_OPTIONS);
  RULE(wanted == 1, "%s: %d", __func__, wanted);
  held->has_intermediates = 1;
  return 0;
}
RELEASE(e5rt_precompiled_compute_op_create_options_release, KIND_CREATE_OPTIONS)

EXPORT int64_t e5rt_execution_stream_operation_create_precompiled_compute_operation_with_options(void **operation,
                                                                                                 void *options) {
  ENTER;
  OUT(operation);
  CHECKED(held, options, KIND_CREATE_OPTIONS);
  RULE(held->has_name && held->has_intermediates, "%s: name and intermediate buffers are not set", __func__);
  if (operation_count >= PROGRAM_CAP) {
    fprintf(stderr, "program load failure: %d programs are loaded\n", PROGRAM_CAP);
    return STATUS_FAILED;
  }
  if (++operation_count > peak_count) peak_count = operation_count;
  *operation = make(KIND_OPERATION, held);
  return 0;
}
RELEASE(e5rt_execution_stream_operation_release, KIND_OPERATION)

static int64_t retain_port(const char *function, void *operation, const char *name, void **port_handle,
                           int is_output) {
  if (entered(function)) return STATUS_FAILED;
  OUT(port_handle);
  object *held = check(function, operation, KIND_OPERATION);
  if (held == NULL) return STATUS_PROTOCOL;
  uint32_t count = is_output ? held->code->output_count : held->code->input_count;
  const port *ports = is_output ? held->code->outputs : held->code->inputs;
  for (uint32_t i = 0; name != NULL && i < count; i++) {
    if (strcmp(ports[i].name, name) != 0) continue;
    object *made = make(KIND_PORT, held);
    made->is_output = is_output;
    made->index = i;
    *port_handle = made;
    return 0;
  }
  violation("%s: there is no port \"%s\"", function, name == NULL ? "NULL" : name);
  return STATUS_PROTOCOL;
}
EXPORT int64_t e5rt_execution_stream_operation_retain_input_port(void *operation, const char *name, void **made) {
  return retain_port(__func__, operation, name, made, 0);
}
EXPORT int64_t e5rt_execution_stream_operation_retain_output_port(void *operation, const char *name, void **made) {
  return retain_port(__func__, operation, name, made, 1);
}
RELEASE(e5rt_io_port_release, KIND_PORT)

EXPORT int64_t e5rt_buffer_object_alloc(void **buffer, uint64_t byte_length, uint32_t type) {
  ENTER;
  OUT(buffer);
  RULE(type == 0, "Invalid BufferType %u", type);
  RULE(byte_length >= 64 && byte_length % 64 == 0, "%s: %llu bytes", __func__, (unsigned long long)byte_length);
  object *made = make(KIND_BUFFER, NULL);
  made->byte_length = byte_length;
  if (posix_memalign(&made->memory, 64, byte_length) != 0) return STATUS_FAILED;
  memset(made->memory, 0xAA, byte_length);
  *buffer = made;
  return 0;
}
EXPORT int64_t e5rt_buffer_object_get_data_ptr(void *buffer, void **memory) {
  ENTER;
  OUT(memory);
  CHECKED(held, buffer, KIND_BUFFER);
  *memory = held->memory;
  return 0;
}
RELEASE(e5rt_buffer_object_release, KIND_BUFFER)

EXPORT int64_t e5rt_io_port_bind_buffer_object(void *port_handle, void *buffer) {
  ENTER;
  CHECKED(held, port_handle, KIND_PORT);
  CHECKED(memory, buffer, KIND_BUFFER);
  object *operation = held->owner;
  RULE(operation->is_live, "%s: the port's operation is released", __func__);
  RULE(operation->stream == NULL, "%s: the operation is encoded already", __func__);
  const port *wanted =
      held->is_output ? &operation->code->outputs[held->index] : &operation->code->inputs[held->index];
  uint64_t rounded = (wanted->byte_length + 63) / 64 * 64;
  RULE(memory->byte_length == rounded, "%s: port %s holds %llu bytes, the buffer %llu", __func__, wanted->name,
       (unsigned long long)wanted->byte_length, (unsigned long long)memory->byte_length);
  (held->is_output ? operation->bound_outputs : operation->bound_inputs)[held->index] = memory;
  return 0;
}

EXPORT int64_t e5rt_async_event_create(void **event, const char *name, uint32_t value) {
  ENTER;
  OUT(event);
  RULE(name != NULL && value == 0, "%s: name %p, value %u", __func__, (const void *)name, value);
  *event = make(KIND_EVENT, NULL);
  return 0;
}
RELEASE(e5rt_async_event_release, KIND_EVENT)
EXPORT int64_t e5rt_execution_stream_operation_bind_completion_event(void *operation, void *event) {
  ENTER;
  CHECKED(held, operation, KIND_OPERATION);
  CHECKED(bound, event, KIND_EVENT);
  RULE(held->stream == NULL, "%s: the operation is encoded already", __func__);
  held->event = bound;
  return 0;
}

EXPORT int64_t e5rt_execution_stream_create(void **stream) {
  ENTER;
  OUT(stream);
  *stream = make(KIND_STREAM, NULL);
  return 0;
}
EXPORT int64_t e5rt_execution_stream_encode_operation(void *stream, void *operation) {
  ENTER;
  CHECKED(held, stream, KIND_STREAM);
  CHECKED(added, operation, KIND_OPERATION);
  RULE(added->stream == NULL, "%s: the operation is encoded already", __func__);
  RULE(held->operation_count < 127, "%s: more than 127 submissions in flight", __func__);
  for (uint32_t i = 0; i < added->code->input_count; i++)
    RULE(added->bound_inputs[i] != NULL, "%s: input %s is not bound", __func__, added->code->inputs[i].name);
  for (uint32_t i = 0; i < added->code->output_count; i++)
    RULE(added->bound_outputs[i] != NULL, "%s: output %s is not bound", __func__, added->code->outputs[i].name);
  RULE(added->event == NULL || added->event->is_live, "%s: the completion event is released", __func__);
  added->stream = held;
  held->operations[held->operation_count++] = added;
  return 0;
}

static uint64_t contents_of(const object *buffer) {
  if (is_watch_off) return 0;
  const uint64_t *words = buffer->memory;
  uint64_t hash = 0xCBF29CE484222325ull;
  for (uint64_t i = 0; i < buffer->byte_length / 8; i++) hash = (hash ^ words[i]) * 0x100000001B3ull;
  return hash;
}

static void check_untouched(const object *buffer, const char *path) {
  if (contents_of(buffer) != buffer->contents)
    violation("the host wrote into a buffer of %s while its stream executed", path);
}

/*
 * From here to the end of the execution the buffers belong to the engine. What the stream makes is spoilt at once:
 * a host that still reads the results of an earlier execution finds it. What it reads must not change.
 */
static int64_t take_buffers(object *stream) {
  for (uint32_t at = 0; at < stream->operation_count; at++) {
    object *operation = stream->operations[at];
    const program *code = operation->code;
    RULE(operation->is_live, "a released operation is executed");
    for (uint32_t i = 0; i < code->input_count; i++) {
      RULE(operation->bound_inputs[i]->is_live, "input %s stands on a released buffer", code->inputs[i].name);
      operation->bound_inputs[i]->is_met = 0;
    }
    for (uint32_t i = 0; i < code->output_count; i++) {
      RULE(operation->bound_outputs[i]->is_live, "output %s stands on a released buffer", code->outputs[i].name);
      operation->bound_outputs[i]->is_met = 0;
    }
  }
  for (uint32_t at = 0; at < stream->operation_count; at++) {
    object *operation = stream->operations[at];
    const program *code = operation->code;
    for (uint32_t i = 0; i < code->input_count; i++) operation->bound_inputs[i]->is_met = 1;
    for (uint32_t i = 0; i < code->output_count; i++) {
      object *output = operation->bound_outputs[i];
      if (!output->is_met && !is_arithmetic_off) memset(output->memory, 0x7E, output->byte_length);
      output->is_met = 1;
    }
  }
  for (uint32_t at = 0; at < stream->operation_count; at++) {
    object *operation = stream->operations[at];
    for (uint32_t i = 0; i < operation->code->input_count; i++)
      operation->bound_inputs[i]->contents = contents_of(operation->bound_inputs[i]);
    for (uint32_t i = 0; i < operation->code->output_count; i++)
      operation->bound_outputs[i]->contents = contents_of(operation->bound_outputs[i]);
  }
  return 0;
}

static int64_t execute(object *stream) {
  RULE(stream->operation_count > 0, "an empty stream is executed");
  int64_t status = take_buffers(stream);
  if (status != 0) return status;
  delay("execute");
  for (uint32_t at = 0; at < stream->operation_count; at++) {
    object *operation = stream->operations[at];
    const program *code = operation->code;
    void *inputs[MAXIMUM_PORTS], *outputs[MAXIMUM_PORTS];
    delay(code->path);
    for (uint32_t i = 0; i < code->input_count; i++) {
      check_untouched(operation->bound_inputs[i], code->path);
      inputs[i] = operation->bound_inputs[i]->memory;
    }
    for (uint32_t i = 0; i < code->output_count; i++) {
      check_untouched(operation->bound_outputs[i], code->path);
      outputs[i] = operation->bound_outputs[i]->memory;
    }
    if (run_program(code, inputs, outputs) != 0) return STATUS_FAILED;
    for (uint32_t i = 0; i < code->output_count; i++)
      operation->bound_outputs[i]->contents = contents_of(operation->bound_outputs[i]);
  }
  for (uint32_t at = 0; at < stream->operation_count; at++) {
    object *operation = stream->operations[at];
    for (uint32_t i = 0; i < operation->code->input_count; i++)
      check_untouched(operation->bound_inputs[i], operation->code->path);
    for (uint32_t i = 0; i < operation->code->output_count; i++)
      check_untouched(operation->bound_outputs[i], operation->code->path);
  }
  execute_count++;
  return 0;
}
EXPORT int64_t e5rt_execution_stream_execute_sync(void *stream) {
  ENTER;
  CHECKED(held, stream, KIND_STREAM);
  if (atomic_fetch_add(&long_calls, 1) > 0) violation("%s: another long call is under way", __func__);
  int64_t status = execute(held);
  atomic_fetch_sub(&long_calls, 1);
  return status;
}
RELEASE(e5rt_execution_stream_release, KIND_STREAM)

/* "live handles", "loaded operations", "most operations", "compilations", "cache hits", "executions". */
EXPORT int64_t anecdote_double_count(const char *what) {
  if (strcmp(what, "live handles") == 0) return live_count;
  if (strcmp(what, "loaded operations") == 0) return operation_count;
  if (strcmp(what, "most operations") == 0) return peak_count;
  if (strcmp(what, "compilations") == 0) return compile_count;
  if (strcmp(what, "cache hits") == 0) return cache_hit_count;
  if (strcmp(what, "executions") == 0) return execute_count;
  return -1;
}
EXPORT void anecdote_double_forget_counts(void) {
  live_count = 0;
  operation_count = 0;
  peak_count = 0;
}
