/*
 * A stand-in for what the in-memory driver touches: the Objective-C runtime, the few Foundation classes, IOSurface
 * and the private classes of AppleNeuralEngine.framework. Objects are never freed, so that use after their end is
 * seen; autorelease pools belong to threads; surfaces can only be touched while they are locked, and not locked
 * while an evaluation uses them; an evaluator lent by the caller computes.
 */
#define _GNU_SOURCE
#include "double.h"
#include <sys/mman.h>

#define MAGIC 0x0B1EC7000A11CE00ull
#ifndef COMPILE_CAP
#define COMPILE_CAP 119
#endif
#define SURFACE_MINIMUM 49152
#define MAXIMUM_POOLED 65536
#define QUALITY 21

typedef enum {
  CLASS_OBJECT, /* a class itself */
  NS_STRING,
  NS_DATA,
  NS_NUMBER,
  NS_ARRAY,
  NS_DICTIONARY,
  NS_URL,
  NS_ERROR,
  ANE_DESCRIPTOR,
  ANE_MODEL,
  ANE_REQUEST,
  ANE_SURFACE_OBJECT,
  ANE_CLIENT,
  ANE_FOLDER_MODEL,
  IO_SURFACE,
  POOL,
} kind;
static const char *const NAMES[] = {"class",   "NSString", "NSData", "NSNumber", "NSArray", "NSDictionary", "NSURL",
                                    "NSError", "_ANEInMemoryModelDescriptor", "_ANEInMemoryModel", "_ANERequest",
                                    "_ANEIOSurfaceObject", "_ANEClient", "_ANEModel", "IOSurface",
                                    "autorelease pool"};

typedef struct object object;
struct object {
  uint64_t magic;
  kind kind;
  kind stands_for; /* of a class */
  atomic_long references;
  char *bytes; /* string, data */
  size_t byte_length;
  long long number;
  object **items, **keys; /* array, dictionary; request: inputs, outputs */
  size_t item_count, key_count;
  object *held[3]; /* descriptor: text, weights; model: descriptor; surface object: surface */
  program *code;
  int is_compiled, is_loaded;
  char identifier[32];
  /* client */
  int is_initialised, is_restricted;
  /* surface */
  void *memory;
  int locks, lock_options;
  int engine_reads, engine_writes;
  size_t pool_start;
};

static atomic_long live_count, compile_count, evaluation_count;
/* Compilations through _ANEInMemoryModel, which leaks: what the cap counts. */
static atomic_long wrapper_count;
static _Thread_local object *pooled[MAXIMUM_POOLED];
static _Thread_local size_t pooled_count;
static _Thread_local int pool_depth;

static void let_go(object *held);

/* Surfaces are touched by the host's thread and the engine's. */
static atomic_flag surfaces_are_busy = ATOMIC_FLAG_INIT;
static void enter_surfaces(void) {
  while (atomic_flag_test_and_set(&surfaces_are_busy)) usleep(1);
}
static void leave_surfaces(object *surface) {
  int is_written = (surface->locks > 0 && (surface->lock_options & 1) == 0) || surface->engine_writes > 0;
  int is_read = surface->locks > 0 || surface->engine_reads > 0;
  mprotect(surface->memory, surface->byte_length, is_written ? PROT_READ | PROT_WRITE : is_read ? PROT_READ : PROT_NONE);
  atomic_flag_clear(&surfaces_are_busy);
}

static object *make(kind of) {
  object *made = calloc(1, sizeof(object));
  made->magic = MAGIC;
  made->kind = of;
  made->references = 1;
  live_count++;
  return made;
}

static object *autoreleased(object *made) {
  if (pool_depth == 0) violation("a %s is autoreleased without a pool: it leaks", NAMES[made->kind]);
  else if (pooled_count == MAXIMUM_POOLED) violation("%d objects are autoreleased in one pool", MAXIMUM_POOLED);
  else pooled[pooled_count++] = made;
  return made;
}

static object *held(object *of) {
  if (of != NULL) of->references++;
  return of;
}

static int is_object(const void *pointer) {
  return pointer != NULL && ((uintptr_t)pointer & 7) == 0 && ((const object *)pointer)->magic == MAGIC;
}

static object *check(const char *where, void *pointer, kind wanted) {
  if (pointer == NULL) violation("%s: nil is given where a %s is wanted", where, NAMES[wanted]);
  else if (!is_object(pointer)) violation("%s: %p is no object; a %s is wanted", where, pointer, NAMES[wanted]);
  else if (((object *)pointer)->references <= 0)
    violation("%s: the %s is gone already", where, NAMES[((object *)pointer)->kind]);
  else if (((object *)pointer)->kind != wanted)
    violation("%s: a %s is given where a %s is wanted", where, NAMES[((object *)pointer)->kind], NAMES[wanted]);
  else return pointer;
  return NULL;
}

static void let_go(object *of) {
  if (of == NULL) return;
  if (of->references <= 0) {
    violation("a %s is released once too often", NAMES[of->kind]);
    return;
  }
  if (--of->references > 0) return;
  live_count--;
  if ((of->kind == ANE_MODEL || of->kind == ANE_FOLDER_MODEL) && of->is_loaded) violation("a model is let go of while it is loaded");
  if (of->kind == IO_SURFACE) {
    if (of->locks > 0) violation("a locked surface is let go of");
    if (of->engine_reads + of->engine_writes > 0) violation("a surface is let go of while an evaluation uses it");
    mprotect(of->memory, of->byte_length, PROT_NONE);
  }
  for (size_t i = 0; i < of->item_count; i++) let_go(of->items[i]);
  for (size_t i = 0; i < of->key_count; i++) let_go(of->keys[i]);
  for (size_t i = 0; i < 3; i++) let_go(of->held[i]);
}

/* The runtime and CoreFoundation. */

EXPORT void *objc_getClass(const char *name) {
  static object *classes[POOL + 1];
  if (entered("objc_getClass")) return NULL;
  for (int i = NS_STRING; i <= ANE_FOLDER_MODEL; i++) {
    if (strcmp(name, NAMES[i]) != 0 || strcmp(name, missing_name) == 0) continue;
    if (classes[i] == NULL) {
      classes[i] = make(CLASS_OBJECT);
      classes[i]->stands_for = (kind)i;
      live_count--;
    }
    return classes[i];
  }
  return NULL;
}
EXPORT void *sel_registerName(const char *name) {
  static char *names[64];
  for (size_t i = 0; i < 64; i++) {
    if (names[i] == NULL) names[i] = strdup(name);
    if (strcmp(names[i], name) == 0) return names[i];
  }
  return NULL;
}
EXPORT void *objc_retain(void *pointer) {
  if (!is_object(pointer) || ((object *)pointer)->references <= 0) violation("objc_retain of what is no object");
  else ((object *)pointer)->references++;
  return pointer;
}
EXPORT void objc_release(void *pointer) {
  if (!is_object(pointer)) violation("objc_release of what is no object");
  else let_go(pointer);
}
EXPORT void *objc_autoreleasePoolPush(void) {
  object *pool = make(POOL);
  pool->pool_start = pooled_count;
  pool_depth++;
  return pool;
}
EXPORT void objc_autoreleasePoolPop(void *pointer) {
  object *pool = check("objc_autoreleasePoolPop", pointer, POOL);
  if (pool == NULL) return;
  if (pool->pool_start > pooled_count) violation("autorelease pools are popped out of order");
  while (pooled_count > pool->pool_start) let_go(pooled[--pooled_count]);
  pool_depth--;
  let_go(pool);
}
EXPORT void CFRelease(void *pointer) {
  if (check("CFRelease", pointer, IO_SURFACE) != NULL) let_go(pointer);
}

static object *string(const char *text) {
  object *made = make(NS_STRING);
  made->bytes = strdup(text);
  made->byte_length = strlen(text);
  return made;
}
EXPORT void *NSTemporaryDirectory(void) {
  const char *folder = getenv("TMPDIR");
  char text[1024];
  snprintf(text, sizeof text, "%s/", folder == NULL ? "/tmp" : folder);
  return autoreleased(string(text));
}

/* IOSurface. */

static object *value_of(object *dictionary, const char *key) {
  for (size_t i = 0; i < dictionary->key_count; i++)
    if (dictionary->keys[i]->kind == NS_STRING && strcmp(dictionary->keys[i]->bytes, key) == 0)
      return dictionary->items[i];
  return NULL;
}
static long long number_of(object *dictionary, const char *key) {
  object *value = value_of(dictionary, key);
  if (value == NULL || value->kind != NS_NUMBER) {
    violation("IOSurfaceCreate: %s is no number", key);
    return -1;
  }
  return value->number;
}
EXPORT void *IOSurfaceCreate(void *properties) {
  if (entered("IOSurfaceCreate")) return NULL;
  object *given = check("IOSurfaceCreate", properties, NS_DICTIONARY);
  if (given == NULL) return NULL;
  long long size = number_of(given, "IOSurfaceAllocSize");
  if (size <= 0 || number_of(given, "IOSurfaceWidth") != size || number_of(given, "IOSurfaceHeight") != 1 ||
      number_of(given, "IOSurfaceBytesPerElement") != 1 || number_of(given, "IOSurfaceBytesPerRow") != size ||
      number_of(given, "IOSurfacePixelFormat") != 0) {
    violation("IOSurfaceCreate: the properties are not those of one row of bytes");
    return NULL;
  }
  object *made = make(IO_SURFACE);
  made->byte_length = (size_t)size;
  made->memory = mmap(NULL, made->byte_length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(made->memory, 0xAA, made->byte_length);
  mprotect(made->memory, made->byte_length, PROT_NONE);
  return made;
}
EXPORT int IOSurfaceLock(void *pointer, uint32_t options, void *seed) {
  if (entered("IOSurfaceLock")) return -1;
  object *surface = check("IOSurfaceLock", pointer, IO_SURFACE);
  if (surface == NULL) return -1;
  if (seed != NULL) violation("IOSurfaceLock: the seed is not NULL");
  enter_surfaces();
  if (surface->locks > 0) violation("IOSurfaceLock: the surface is locked already");
  if (surface->engine_writes > 0) violation("IOSurfaceLock: an evaluation writes the surface");
  if (surface->engine_reads > 0 && (options & 1) == 0)
    violation("IOSurfaceLock: for writing, while an evaluation reads the surface");
  surface->locks++;
  surface->lock_options = (int)options;
  leave_surfaces(surface);
  return 0;
}
EXPORT int IOSurfaceUnlock(void *pointer, uint32_t options, void *seed) {
  object *surface = check("IOSurfaceUnlock", pointer, IO_SURFACE);
  if (surface == NULL) return -1;
  if (seed != NULL) violation("IOSurfaceUnlock: the seed is not NULL");
  if (surface->locks != 1 || surface->lock_options != (int)options)
    violation("IOSurfaceUnlock: it was not locked so");
  enter_surfaces();
  surface->locks = 0;
  leave_surfaces(surface);
  return 0;
}
EXPORT void *IOSurfaceGetBaseAddress(void *pointer) {
  object *surface = check("IOSurfaceGetBaseAddress", pointer, IO_SURFACE);
  if (surface == NULL) return NULL;
  if (surface->locks == 0) violation("IOSurfaceGetBaseAddress: the surface is not locked");
  return surface->memory;
}
EXPORT size_t IOSurfaceGetAllocSize(void *pointer) {
  object *surface = check("IOSurfaceGetAllocSize", pointer, IO_SURFACE);
  return surface == NULL ? 0 : surface->byte_length;
}

/* Messages. */

static int fail(void **error, const char *text) {
  if (error == NULL) violation("the NSError pointer is NULL");
  else {
    object *made = make(NS_ERROR);
    made->held[0] = string(text);
    *error = autoreleased(made);
  }
  return 0;
}

static object *collection(kind of, void **items, void **keys, size_t count, const char *where) {
  object *made = make(of);
  made->items = calloc(count + 1, sizeof(object *));
  made->keys = calloc(count + 1, sizeof(object *));
  for (size_t i = 0; i < count; i++) {
    if (!is_object(items[i]) || (keys != NULL && check(where, keys[i], NS_STRING) == NULL)) {
      violation("%s: element %zu is no object", where, i);
      return NULL;
    }
    made->items[made->item_count++] = held(items[i]);
    if (keys != NULL) made->keys[made->key_count++] = held(keys[i]);
  }
  return autoreleased(made);
}

/* FNV-1a over text and weights, as 16 hexadecimal digits. */
static void identify(object *model, const object *text, const object *weights) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (size_t i = 0; i < text->byte_length; i++) hash = (hash ^ (uint8_t)text->bytes[i]) * 0x100000001b3ull;
  for (size_t at = 0; at < weights->item_count; at++) {
    object *data = value_of(weights->items[at], "data");
    for (size_t i = 0; data != NULL && i < data->byte_length; i++)
      hash = (hash ^ (uint8_t)data->bytes[i]) * 0x100000001b3ull;
  }
  snprintf(model->identifier, sizeof model->identifier, "%016llx", (unsigned long long)hash);
}

static object *describe_program(object *text, object *weights, void *options) {
  const char *where = "modelWithMILText:weights:optionsPlist:";
  if (check(where, text, NS_DATA) == NULL) return NULL;
  int is_absent = weights == NULL;
  if (is_absent) weights = collection(NS_DICTIONARY, NULL, NULL, 0, where);
  if (check(where, weights, NS_DICTIONARY) == NULL) return NULL;
  if (options != NULL) violation("%s: options are given", where);
  for (size_t i = 0; i < weights->item_count; i++) {
    object *entry = check(where, weights->items[i], NS_DICTIONARY);
    object *data = entry == NULL ? NULL : value_of(entry, "data");
    object *offset = entry == NULL ? NULL : value_of(entry, "offset");
    if (strncmp(weights->keys[i]->bytes, "@model_path/", 12) != 0 || data == NULL || data->kind != NS_DATA ||
        offset == NULL || offset->kind != NS_NUMBER || offset->number != 0) {
      violation("%s: the weights are not {@model_path/...: {offset: 0, data: NSData}}", where);
      return NULL;
    }
  }
  object *made = make(ANE_DESCRIPTOR);
  made->held[0] = held(text);
  made->held[1] = held(weights);
  made->number = is_absent;
  return autoreleased(made);
}

static int file_holds(const char *path, const object *data) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) return 0;
  char *bytes = malloc(data->byte_length + 1);
  size_t length = fread(bytes, 1, data->byte_length + 1, file);
  int same = length == data->byte_length && memcmp(bytes, data->bytes, length) == 0;
  fclose(file);
  free(bytes);
  return same;
}

static int read_model(object *model, const char *path, const char *folder, object *text, void **error) {
  model->code = calloc(1, sizeof(program));
  snprintf(model->code->path, sizeof model->code->path, "%s", path);
  char *copy = calloc(text->byte_length + 1, 1);
  memcpy(copy, text->bytes, text->byte_length);
  const char *refusal = read_program(copy, model->code);
  if (refusal == NULL) refusal = check_weights(copy, folder);
  free(copy);
  if (refusal != NULL) {
    char why[400];
    snprintf(why, sizeof why, "InvalidMILProgram: %s", refusal);
    return fail(error, why);
  }
  model->is_compiled = 1;
  return 1;
}

static int compile_model(object *model, void **error) {
  if (model->is_compiled) violation("a model is compiled twice");
  compile_count++;
  if (++wrapper_count > COMPILE_CAP) return fail(error, "ANECCompile() FAILED err=()");
  object *text = model->held[0]->held[0], *weights = model->held[0]->held[1];
  const char *temporary = getenv("TMPDIR");
  char folder[700], path[1024];
  snprintf(folder, sizeof folder, "%s/%s", temporary == NULL ? "/tmp" : temporary, model->identifier);
  snprintf(path, sizeof path, "%s/model.mil", folder);
  if (!file_holds(path, text)) {
    violation("compileWithQoS: %s does not hold the program's text", path);
    return fail(error, "InvalidMILProgram");
  }
  for (size_t i = 0; i < weights->item_count; i++) {
    char weight_path[1024];
    snprintf(weight_path, sizeof weight_path, "%s/%.200s", folder, weights->keys[i]->bytes + 12);
    if (file_holds(weight_path, value_of(weights->items[i], "data"))) continue;
    violation("compileWithQoS: %s does not hold the weights", weight_path);
    return fail(error, "InvalidMILProgram");
  }
  /* Without a dictionary of weights, programs with products and slices do not compile (ane-lora-training, M4). */
  if (model->held[0]->number && memmem(text->bytes, text->byte_length, " matmul(", 8) != NULL &&
      memmem(text->bytes, text->byte_length, " slice_by_", 10) != NULL)
    return fail(error, "InvalidMILProgram");
  return read_model(model, path, folder, text, error);
}

static int says(object *dictionary, const char *key, const char *wanted) {
  object *value = value_of(dictionary, key);
  return value != NULL && value->kind == NS_STRING && strcmp(value->bytes, wanted) == 0;
}

/* An _ANEModel over a folder: without the keys that tell MIL, the files of the older format are looked for. */
static int compile_folder(object *model, object *options, void **error) {
  if (model->is_compiled) violation("a model is compiled twice");
  compile_count++;
  if (!says(options, "kANEFModelType", "kANEFModelMIL") || !says(options, "kANEFNetPlistFilenameKey", "model.mil"))
    return fail(error, "there is no model.espresso.net");
  const char *folder = model->held[0]->bytes;
  char path[1024];
  snprintf(path, sizeof path, "%s/model.mil", folder);
  char *bytes = read_text(path);
  if (bytes == NULL) {
    violation("compileModel: there is no %s", path);
    return fail(error, "InvalidMILProgram");
  }
  object text = {.bytes = bytes, .byte_length = strlen(bytes)};
  int ok = read_model(model, path, folder, &text, error);
  free(bytes);
  return ok;
}

static object *make_request(void *inputs, void *input_indices, void *outputs, void *output_indices, void *weights,
                            void *statistics, void *procedure) {
  const char *where = "requestWithInputs:...";
  void *const arrays[] = {inputs, input_indices, outputs, output_indices};
  for (int i = 0; i < 4; i++)
    if (check(where, arrays[i], NS_ARRAY) == NULL) return NULL;
  object *number = check(where, procedure, NS_NUMBER);
  if (weights != NULL || statistics != NULL || number == NULL || number->number != 0)
    violation("%s: weightsBuffer and perfStats are nil, procedureIndex is 0", where);
  object *made = make(ANE_REQUEST);
  for (int side = 0; side < 2; side++) {
    object *surfaces = arrays[2 * side], *indices = arrays[2 * side + 1];
    if (indices->item_count != surfaces->item_count) violation("%s: surfaces and indices differ in number", where);
    for (size_t i = 0; i < surfaces->item_count; i++) {
      if (check(where, surfaces->items[i], ANE_SURFACE_OBJECT) == NULL) return NULL;
      object *index = check(where, indices->items[i], NS_NUMBER);
      if (index == NULL || index->number != (long long)i) violation("%s: index %zu is another", where, i);
    }
    made->held[side] = held(surfaces);
  }
  return autoreleased(made);
}

/* Position of every port in the alphabetical order of names. */
static void alphabetical(const port *ports, uint32_t count, uint32_t *place) {
  for (uint32_t i = 0; i < count; i++) {
    place[i] = 0;
    for (uint32_t j = 0; j < count; j++) place[i] += strcmp(ports[j].name, ports[i].name) < 0;
  }
}

static int evaluate(object *model, object *request, void **error) {
  object *sides[] = {request->held[0], request->held[1]};
  const program *code = model->code;
  const port *ports[] = {code->inputs, code->outputs};
  uint32_t counts[] = {code->input_count, code->output_count};
  void *memory[2][MAXIMUM_PORTS];
  for (int side = 0; side < 2; side++) {
    uint32_t place[MAXIMUM_PORTS];
    alphabetical(ports[side], counts[side], place);
    if (sides[side]->item_count != counts[side]) {
      violation("evaluate: %zu surfaces for %u ports", sides[side]->item_count, counts[side]);
      return fail(error, "status=0x2");
    }
    for (uint32_t i = 0; i < counts[side]; i++) {
      object *surface = sides[side]->items[place[i]]->held[0];
      object *first = sides[side]->items[0]->held[0];
      if (surface->references <= 1) violation("evaluate: %s stands on a surface that is let go of", ports[side][i].name);
      if (surface->locks > 0 && (side == 1 || (surface->lock_options & 1) == 0))
        violation("evaluate: the surface of %s is locked", ports[side][i].name);
      int is_free = strcmp(surface_rule, "any") == 0;
      if (surface->byte_length < ports[side][i].byte_length ||
          (!is_free && (surface->byte_length < SURFACE_MINIMUM || surface->byte_length != first->byte_length))) {
        violation("evaluate: the surface of %s has %zu bytes, the first one %zu", ports[side][i].name,
                  surface->byte_length, first->byte_length);
        return fail(error, "Program Inference error status=0x1d");
      }
      memory[side][i] = surface->memory;
    }
  }
  for (uint32_t i = 0; i < counts[0]; i++)
    for (uint32_t j = 0; j < counts[1]; j++)
      if (memory[0][i] == memory[1][j]) {
        violation("evaluate: one surface is input and output");
        return fail(error, "statusType=0x9");
      }
  for (int open = 1; open >= 0; open--) {
    for (int side = 0; side < 2; side++)
      for (size_t i = 0; i < sides[side]->item_count; i++) {
        object *surface = sides[side]->items[i]->held[0];
        enter_surfaces();
        if (side == 0) surface->engine_reads += open ? 1 : -1;
        else surface->engine_writes += open ? 1 : -1;
        leave_surfaces(surface);
      }
    if (!open) break;
    delay("execute");
    delay(code->path);
    if (run_program(code, memory[0], memory[1]) != 0) fail(error, "the evaluator failed");
  }
  evaluation_count++;
  return error == NULL || *error == NULL;
}

#define IS(name) (strcmp(selector, name) == 0)

/* What the private classes answer: "+" for the class itself, "-" for its instances. */
static const struct {
  kind kind;
  char side;
  const char *selector;
} KNOWN[] = {
    {ANE_DESCRIPTOR, '+', "modelWithMILText:weights:optionsPlist:"},
    {ANE_MODEL, '+', "inMemoryModelWithDescriptor:"},
    {ANE_MODEL, '-', "hexStringIdentifier"},
    {ANE_MODEL, '-', "compileWithQoS:options:error:"},
    {ANE_MODEL, '-', "loadWithQoS:options:error:"},
    {ANE_MODEL, '-', "evaluateWithQoS:options:request:error:"},
    {ANE_MODEL, '-', "unloadWithQoS:error:"},
    {ANE_SURFACE_OBJECT, '+', "objectWithIOSurface:"},
    {ANE_REQUEST, '+', "requestWithInputs:inputIndices:outputs:outputIndices:weightsBuffer:perfStats:procedureIndex:"},
    {ANE_CLIENT, '+', "sharedConnection"},
    {ANE_CLIENT, '+', "alloc"},
    {ANE_CLIENT, '-', "initWithRestrictedAccessAllowed:"},
    {ANE_CLIENT, '-', "compileModel:options:qos:error:"},
    {ANE_CLIENT, '-', "loadModel:options:qos:error:"},
    {ANE_CLIENT, '-', "unloadModel:options:qos:error:"},
    {ANE_CLIENT, '-', "evaluateWithModel:options:request:qos:error:"},
    {ANE_CLIENT, '-', "doEvaluateDirectWithModel:options:request:qos:error:"},
    {ANE_FOLDER_MODEL, '+', "modelAtURL:key:"},
};

static int responds(kind of, char side, const char *selector) {
  if (strcmp(selector, missing_name) == 0) return 0;
  for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
    if (KNOWN[i].kind == of && KNOWN[i].side == side && strcmp(KNOWN[i].selector, selector) == 0) return 1;
  return 0;
}

/* One client serves the process; it is nobody's to release. */
static object *shared_client(void) {
  static object *client;
  if (client == NULL) {
    client = make(ANE_CLIENT);
    client->is_initialised = 1;
    live_count--;
  }
  return client;
}

static uintptr_t class_message(kind of, const char *selector, uintptr_t *o) {
  if (IS("respondsToSelector:")) return (uintptr_t)responds(of, '+', (const char *)o[0]);
  if (IS("instancesRespondToSelector:")) return (uintptr_t)responds(of, '-', (const char *)o[0]);
  if (strncmp(NAMES[of], "_ANE", 4) == 0 && !responds(of, '+', selector)) {
    violation("+[%s %s] is unrecognized", NAMES[of], selector);
    return 0;
  }
  if (of == ANE_CLIENT && IS("sharedConnection")) return (uintptr_t)shared_client();
  if (of == ANE_CLIENT && IS("alloc")) return (uintptr_t)make(ANE_CLIENT);
  if (of == NS_URL && IS("fileURLWithPath:isDirectory:")) {
    object *path = check(selector, (void *)o[0], NS_STRING);
    if (path == NULL) return 0;
    if ((uint8_t)o[1] != 1) violation("%s: the folder is not said to be one", selector);
    object *made = make(NS_URL);
    made->bytes = strdup(path->bytes);
    return (uintptr_t)autoreleased(made);
  }
  if (of == ANE_FOLDER_MODEL && IS("modelAtURL:key:")) {
    object *url = check(selector, (void *)o[0], NS_URL), *key = check(selector, (void *)o[1], NS_STRING);
    if (url == NULL || key == NULL) return 0;
    object *made = make(ANE_FOLDER_MODEL);
    made->held[0] = held(url);
    made->held[1] = held(key);
    return (uintptr_t)autoreleased(made);
  }
  if (of == NS_STRING && IS("stringWithUTF8String:")) return (uintptr_t)autoreleased(string((const char *)o[0]));
  if (of == NS_DATA && IS("dataWithBytes:length:")) {
    object *made = make(NS_DATA);
    made->byte_length = o[1];
    made->bytes = malloc(o[1] + 1);
    memcpy(made->bytes, (const void *)o[0], o[1]);
    return (uintptr_t)autoreleased(made);
  }
  if (of == NS_NUMBER && (IS("numberWithInt:") || IS("numberWithLongLong:"))) {
    object *made = make(NS_NUMBER);
    made->number = IS("numberWithInt:") ? (int)o[0] : (long long)o[0];
    return (uintptr_t)autoreleased(made);
  }
  if (of == NS_ARRAY && IS("arrayWithObjects:count:"))
    return (uintptr_t)collection(NS_ARRAY, (void **)o[0], NULL, o[1], selector);
  if (of == NS_DICTIONARY && IS("dictionary")) return (uintptr_t)collection(NS_DICTIONARY, NULL, NULL, 0, selector);
  if (of == NS_DICTIONARY && IS("dictionaryWithObjects:forKeys:count:"))
    return (uintptr_t)collection(NS_DICTIONARY, (void **)o[0], (void **)o[1], o[2], selector);
  if (of == ANE_DESCRIPTOR && IS("modelWithMILText:weights:optionsPlist:"))
    return (uintptr_t)describe_program((object *)o[0], (object *)o[1], (void *)o[2]);
  if (of == ANE_MODEL && IS("inMemoryModelWithDescriptor:")) {
    object *descriptor = check(selector, (void *)o[0], ANE_DESCRIPTOR);
    if (descriptor == NULL) return 0;
    object *made = make(ANE_MODEL);
    made->held[0] = held(descriptor);
    identify(made, descriptor->held[0], descriptor->held[1]);
    return (uintptr_t)autoreleased(made);
  }
  if (of == ANE_SURFACE_OBJECT && IS("objectWithIOSurface:")) {
    object *surface = check(selector, (void *)o[0], IO_SURFACE);
    if (surface == NULL) return 0;
    object *made = make(ANE_SURFACE_OBJECT);
    made->held[0] = held(surface);
    return (uintptr_t)autoreleased(made);
  }
  if (of == ANE_REQUEST &&
      IS("requestWithInputs:inputIndices:outputs:outputIndices:weightsBuffer:perfStats:procedureIndex:"))
    return (uintptr_t)make_request((void *)o[0], (void *)o[1], (void *)o[2], (void *)o[3], (void *)o[4],
                                   (void *)o[5], (void *)o[6]);
  violation("+[%s %s] is unrecognized", NAMES[of], selector);
  return 0;
}

static void check_quality(const char *selector, uintptr_t quality, void *options, int has_options) {
  if ((uint32_t)quality != QUALITY) violation("%s: quality of service %u", selector, (uint32_t)quality);
  if (!has_options) return;
  object *given = check(selector, options, NS_DICTIONARY);
  if (given != NULL && given->item_count > 0) violation("%s: options are given", selector);
}

/* A model that a client or the model itself is asked to run. */
static uintptr_t run_model(object *model, const char *selector, void *given_request, int is_failing, void **error) {
  object *request = check(selector, given_request, ANE_REQUEST);
  if (!model->is_loaded) violation("%s: the model is not loaded", selector);
  if (is_failing || request == NULL || !model->is_loaded) return (uintptr_t)fail(error, "told to fail");
  return (uintptr_t)evaluate(model, request, error);
}

static int is_restricted_message(const char *selector) {
  return IS("doEvaluateDirectWithModel:options:request:qos:error:");
}

static uintptr_t client_message(object *client, const char *selector, uintptr_t *o, int is_failing) {
  if (!responds(ANE_CLIENT, '-', selector)) {
    violation("-[_ANEClient %s] is unrecognized", selector);
    return 0;
  }
  if (IS("initWithRestrictedAccessAllowed:")) {
    if (client->is_initialised) violation("%s: the client is initialised already", selector);
    if (is_failing) {
      let_go(client);
      return 0;
    }
    client->is_initialised = 1;
    client->is_restricted = (uint8_t)o[0] == 1;
    return (uintptr_t)client;
  }
  if (!client->is_initialised) violation("%s: the client is not initialised", selector);
  int is_evaluation = strstr(selector, "request:") != NULL;
  uintptr_t quality = o[is_evaluation ? 3 : 2];
  void **error = (void **)o[is_evaluation ? 4 : 3];
  object *model = (object *)o[0], *options = (object *)o[1];
  if (is_evaluation) check_quality(selector, quality, options, 1);
  else check_quality(selector, quality, NULL, 0);
  if (check(selector, options, NS_DICTIONARY) == NULL) return (uintptr_t)fail(error, "no options");
  if (is_evaluation) {
    if (is_restricted_message(selector) && !client->is_restricted)
      violation("%s: the client was made without restricted access", selector);
    if (is_object(model) && model->kind == ANE_MODEL ? check(selector, model, ANE_MODEL) == NULL
                                                     : check(selector, model, ANE_FOLDER_MODEL) == NULL)
      return (uintptr_t)fail(error, "no model");
    return run_model(model, selector, (void *)o[2], is_failing, error);
  }
  if (check(selector, model, ANE_FOLDER_MODEL) == NULL) return (uintptr_t)fail(error, "no model");
  if (IS("compileModel:options:qos:error:"))
    return (uintptr_t)(is_failing ? fail(error, "told to fail") : compile_folder(model, options, error));
  if (IS("loadModel:options:qos:error:")) {
    if (!model->is_compiled || model->is_loaded) violation("%s: out of order", selector);
    if (is_failing) return (uintptr_t)fail(error, "told to fail");
    model->is_loaded = 1;
    return 1;
  }
  if (!model->is_loaded) violation("%s: the model is not loaded", selector);
  model->is_loaded = 0;
  return is_failing ? (uintptr_t)fail(error, "told to fail") : 1;
}

static uintptr_t model_message(object *model, const char *selector, uintptr_t *o, int is_failing) {
  if (!responds(ANE_MODEL, '-', selector)) {
    violation("-[_ANEInMemoryModel %s] is unrecognized", selector);
    return 0;
  }
  if (IS("hexStringIdentifier")) return (uintptr_t)autoreleased(string(model->identifier));
  if (IS("compileWithQoS:options:error:")) {
    check_quality(selector, o[0], (void *)o[1], 1);
    if (is_failing) return (uintptr_t)fail((void **)o[2], "told to fail");
    return (uintptr_t)compile_model(model, (void **)o[2]);
  }
  if (IS("loadWithQoS:options:error:")) {
    check_quality(selector, o[0], (void *)o[1], 1);
    if (!model->is_compiled || model->is_loaded) violation("%s: out of order", selector);
    if (is_failing) return (uintptr_t)fail((void **)o[2], "told to fail");
    model->is_loaded = 1;
    return 1;
  }
  if (IS("evaluateWithQoS:options:request:error:")) {
    check_quality(selector, o[0], (void *)o[1], 1);
    return run_model(model, selector, (void *)o[2], is_failing, (void **)o[3]);
  }
  if (IS("unloadWithQoS:error:")) {
    check_quality(selector, o[0], NULL, 0);
    if (!model->is_loaded) violation("%s: the model is not loaded", selector);
    model->is_loaded = 0;
    return is_failing ? (uintptr_t)fail((void **)o[1], "told to fail") : 1;
  }
  return 0;
}

/* As many operands as the longest message has; those that the caller did not pass are never looked at. */
EXPORT uintptr_t objc_msgSend(void *receiver, const char *selector, uintptr_t a, uintptr_t b, uintptr_t c,
                              uintptr_t d, uintptr_t e, uintptr_t f, uintptr_t g) {
  uintptr_t operands[] = {a, b, c, d, e, f, g};
  int is_failing = entered(selector);
  if (!is_object(receiver)) {
    violation("%s is sent to what is no object", selector);
    return 0;
  }
  object *target = receiver;
  if (target->references <= 0) {
    violation("%s is sent to a %s that is gone", selector, NAMES[target->kind]);
    return 0;
  }
  if (target->kind == CLASS_OBJECT) return is_failing ? 0 : class_message(target->stands_for, selector, operands);
  if (target->kind == ANE_CLIENT) return client_message(target, selector, operands, is_failing);
  if (target->kind == ANE_MODEL) return model_message(target, selector, operands, is_failing);
  if (target->kind == NS_STRING && IS("UTF8String")) return (uintptr_t)target->bytes;
  if (target->kind == NS_ERROR && IS("description")) return (uintptr_t)target->held[0];
  violation("-[%s %s] is unrecognized", NAMES[target->kind], selector);
  return 0;
}

/* "live handles", "compilations", "executions". */
EXPORT int64_t anecdote_double_count(const char *what) {
  if (strcmp(what, "live handles") == 0) return live_count;
  if (strcmp(what, "compilations") == 0) return compile_count;
  if (strcmp(what, "executions") == 0) return evaluation_count;
  return -1;
}
EXPORT void anecdote_double_forget_counts(void) {
  live_count = 0;
  compile_count = 0;
  wrapper_count = 0;
}
