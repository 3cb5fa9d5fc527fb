/*
 * What both doubles of the engine share: programs read from MIL text, their weights, and running them.
 */
#ifndef ANECDOTE_DOUBLE_H
#define ANECDOTE_DOUBLE_H
#include "orders.h"
#include <sys/stat.h>

#define MAXIMUM_PORTS 256
#define NAME_BYTES 64

typedef int (*evaluate_function)(const char *model, uint32_t input_count, void **inputs,
                                 uint32_t output_count, void **outputs);

static evaluate_function evaluator;

/* Programs, read from MIL text. */
typedef struct {
  char name[NAME_BYTES];
  uint64_t byte_length;
} port;

typedef struct {
  char path[1024];
  uint32_t input_count, output_count;
  port inputs[MAXIMUM_PORTS], outputs[MAXIMUM_PORTS];
} program;

static uint64_t element_bytes(const char *type, size_t length) {
  if (length == 4 && strncmp(type, "fp16", 4) == 0) return 2;
  if (length == 5 && strncmp(type, "uint8", 5) == 0) return 1;
  if (length == 4 && strncmp(type, "int8", 4) == 0) return 1;
  return 0;
}

/* Reads "tensor<fp16, [1, 2]> name" and returns what follows, or NULL. */
static const char *parse_port(const char *text, port *made) {
  if (strncmp(text, "tensor<", 7) != 0) return NULL;
  const char *type = text + 7;
  const char *comma = strchr(type, ',');
  if (comma == NULL) return NULL;
  uint64_t bytes = element_bytes(type, (size_t)(comma - type));
  if (bytes == 0) return NULL;
  const char *at = comma + 1;
  while (*at == ' ') at++;
  if (*at != '[') return NULL;
  for (at++; *at != ']';) {
    char *end;
    unsigned long long size = strtoull(at, &end, 10);
    if (end == at || size == 0) return NULL;
    bytes *= size;
    at = end;
    while (*at == ',' || *at == ' ') at++;
  }
  if (strncmp(at, "]> ", 3) != 0) return NULL;
  at += 3;
  size_t length = strcspn(at, ",) =;");
  if (length == 0 || length >= NAME_BYTES) return NULL;
  memcpy(made->name, at, length);
  made->name[length] = 0;
  made->byte_length = bytes;
  return at + length;
}

static const char *refuse_program(const char *why) {
  fprintf(stderr, "MIL compiler: InvalidMILProgram: %s\n", why);
  return why;
}

/* Checks and reads a program as strictly as the runtime is known to. Returns NULL, or why it is refused. */
static const char *read_program(const char *text, program *made) {
  static char why[256];
  if (strncmp(text, "program(1.3)", 12) != 0) return refuse_program("the dialect is not 1.3");
  if (strstr(text, "buildInfo = dict<string, string>(") == NULL) return refuse_program("there is no buildInfo");
  const char *at = strstr(text, "func main<ios18>(");
  if (at == NULL) return refuse_program("there is no func main<ios18>");
  at += strlen("func main<ios18>(");
  made->input_count = 0;
  while (*at != ')') {
    if (made->input_count == MAXIMUM_PORTS) return refuse_program("too many inputs");
    at = parse_port(at, &made->inputs[made->input_count]);
    if (at == NULL) return refuse_program("an input is not a static fp16 or 8-bit tensor");
    made->input_count++;
    while (*at == ',' || *at == ' ') at++;
  }
  const char *body = strchr(at, '{');
  const char *end = strstr(at, "} -> (");
  if (body == NULL || end == NULL) return refuse_program("the function has no body");
  uint32_t op_count = 0;
  for (const char *line = strchr(body, '\n'); line != NULL && line < end; line = strchr(line + 1, '\n')) {
    const char *next = strchr(line + 1, '\n');
    const char *equals = strstr(line + 1, " = ");
    if (equals == NULL || next == NULL || equals > next) continue;
    const char *operation = equals + 3;
    size_t length = strcspn(operation, "(<");
    const char *named = strstr(operation, "name = string(\"");
    if (named == NULL || named > next) return refuse_program("an operation has no name");
    if (strncmp(operation, "const", length) == 0 && length == 5) continue;
    op_count++;
    static const char *const literals[] = {"bool(", "int32(", "fp16(", "fp32(", "string(", "tensor<"};
    for (size_t i = 0; i < sizeof literals / sizeof *literals; i++) {
      const char *literal = strstr(operation, literals[i]);
      if (literal != NULL && literal < named && literal < strstr(operation, ")["))
        return refuse_program("an argument is not a named constant");
    }
    /* What no chip's compiler takes; the whole list is in src/chip/legality. */
    static const char *const lacking[] = {"cumsum",  "gather",        "gather_along_axis", "scatter_along_axis",
                                          "one_hot", "reduce_argmax", "reduce_argmin",     "identity"};
    for (size_t i = 0; i < sizeof lacking / sizeof *lacking; i++) {
      if (strlen(lacking[i]) != length || strncmp(operation, lacking[i], length) != 0) continue;
      snprintf(why, sizeof why, "no backend for op %s (%.60s)", lacking[i], named);
      return refuse_program(why);
    }
    if (refused_op[0] != 0 && strlen(refused_op) == length && strncmp(operation, refused_op, length) == 0) {
      snprintf(why, sizeof why, "no backend for op %s (%.60s)", refused_op, named);
      return refuse_program(why);
    }
  }
  if (op_count == 0) return refuse_program("unordered_map::at: an empty body");
  made->output_count = 0;
  for (at = end + strlen("} -> ("); *at != ')';) {
    size_t length = strcspn(at, ",)");
    if (made->output_count == MAXIMUM_PORTS || length >= NAME_BYTES) return refuse_program("too many outputs");
    port *output = &made->outputs[made->output_count++];
    char declared[NAME_BYTES + 8];
    snprintf(declared, sizeof declared, "> %.*s", (int)length, at);
    const char *place = strstr(body, declared);
    /* The last or only result of an operation, or one of several. */
    while (place != NULL && place[length + 2] != ',' && strncmp(place + length + 2, " = ", 3) != 0)
      place = strstr(place + 1, declared);
    if (place == NULL || place > end) {
      snprintf(why, sizeof why, "the result %.*s is not made by an operation", (int)length, at);
      return refuse_program(why);
    }
    while (place > body && strncmp(place, "tensor<", 7) != 0) place--;
    if (parse_port(place, output) == NULL) return refuse_program("an output is not a static fp16 tensor");
    at += length;
    while (*at == ',' || *at == ' ') at++;
  }
  for (uint32_t i = 0; i < made->output_count; i++)
    for (uint32_t j = 0; j < made->input_count; j++)
      if (strcmp(made->outputs[i].name, made->inputs[j].name) == 0)
        return refuse_program("unordered_map::at: an input is returned");
  return NULL;
}

static __attribute__((unused)) char *read_text(const char *path) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) return NULL;
  struct stat status;
  if (fstat(fileno(file), &status) != 0) {
    fclose(file);
    return NULL;
  }
  char *text = malloc((size_t)status.st_size + 1);
  size_t length = fread(text, 1, (size_t)status.st_size, file);
  text[length] = 0;
  fclose(file);
  return text;
}

/* Weight files must exist and every offset must be that of a descriptor. Returns NULL, or what is wrong. */
static const char *check_weights(const char *text, const char *folder) {
  static char why[1200];
  for (const char *at = strstr(text, "BLOBFILE("); at != NULL; at = strstr(at + 1, "BLOBFILE(")) {
    char relative[256];
    unsigned long long offset;
    if (sscanf(at, "BLOBFILE(path = string(\"@model_path/%255[^\"]\"), offset = uint64(%llu))", relative, &offset) != 2)
      return refuse_program("a BLOBFILE reference is not spelt as the compiler wants it");
    char path[1300];
    snprintf(path, sizeof path, "%s/%s", folder, relative);
    FILE *file = fopen(path, "rb");
    uint32_t head[2] = {0, 0}, descriptor[2] = {0, 0};
    uint64_t place[2] = {0, 0};
    if (file != NULL) {
      if (fread(head, 4, 2, file) != 2 || fseek(file, (long)offset, SEEK_SET) != 0 ||
          fread(descriptor, 4, 2, file) != 2 || fread(place, 8, 2, file) != 2)
        descriptor[0] = 0;
      fclose(file);
    }
    /* tensor<int8, [...]>(BLOBFILE(...)): the record's type code is that of the constant, fp16 1 and int8 4. */
    const char *type = at;
    while (type > text && strncmp(type, "tensor<", 7) != 0) type--;
    const char *wanted = strncmp(type, "tensor<int8", 11) == 0 ? "int8" : "fp16";
    uint32_t code = *wanted == 'i' ? 4 : 1;
    if (head[1] != 2 || descriptor[0] != 0xDEADBEEF || descriptor[1] != code || place[1] != offset + 64) {
      snprintf(why, sizeof why, "%s has no %s blob at offset %llu", relative, wanted, offset);
      return refuse_program(why);
    }
  }
  return NULL;
}

/* Runs a program over its ports' memory; the caller has checked sizes. */
static int run_program(const program *code, void **inputs, void **outputs) {
  if (is_due(&garbage_order, "execute")) {
    for (uint32_t i = 0; i < code->output_count; i++) memset(outputs[i], 0xFF, code->outputs[i].byte_length);
    return 0;
  }
  if (is_arithmetic_off) return 0;
  if (evaluator == NULL) {
    fprintf(stderr, "double: nobody lent an evaluator\n");
    return 1;
  }
  return evaluator(code->path, code->input_count, inputs, code->output_count, outputs);
}

EXPORT void anecdote_set_evaluator(evaluate_function function) { evaluator = function; }
#endif
