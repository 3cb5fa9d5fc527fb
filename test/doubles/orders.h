/*
 * What every test double shares: rules whose breach is counted and told, and failures on demand.
 */
#ifndef ANECDOTE_ORDERS_H
#define ANECDOTE_ORDERS_H
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static atomic_long violation_count;
static char first_violation[512];

static void violation(const char *format, ...) {
  char text[400];
  va_list operands;
  va_start(operands, format);
  vsnprintf(text, sizeof text, format, operands);
  va_end(operands);
  if (atomic_fetch_add(&violation_count, 1) == 0) snprintf(first_violation, sizeof first_violation, "%s", text);
  fprintf(stderr, "protocol: %s\n", text);
}

/* Orders from tests: KEY=VALUE through the control function or as ANECDOTE_DOUBLE_KEY in the environment. */
typedef struct {
  char function[128]; /* "" for none */
  long at;            /* 1 for the first call from now on */
} order;

static order parse_order(const char *text) {
  order made = {"", 1};
  if (text == NULL || *text == 0) return made;
  /* Selectors end in a colon of their own. */
  const char *colon = strrchr(text, ':');
  if (colon != NULL && colon[1] == 0) colon = NULL;
  size_t length = colon == NULL ? strlen(text) : (size_t)(colon - text);
  if (length >= sizeof made.function) length = sizeof made.function - 1;
  memcpy(made.function, text, length);
  made.function[length] = 0;
  if (colon != NULL) made.at = atol(colon + 1);
  return made;
}

/* How long the engine takes: for each call of "execute", for each run of a program whose path has the text in it. */
#define MAXIMUM_DELAYS 64
static struct {
  char what[128];
  double milliseconds;
} delays[MAXIMUM_DELAYS];
static int delay_count;
static __attribute__((unused)) int is_arithmetic_off, is_watch_off;

static void set_delay(const char *text) {
  const char *colon = text == NULL ? NULL : strrchr(text, ':');
  if (colon == NULL || delay_count == MAXIMUM_DELAYS) {
    delay_count = 0;
    return;
  }
  size_t length = (size_t)(colon - text);
  if (length >= sizeof delays->what) length = sizeof delays->what - 1;
  memcpy(delays[delay_count].what, text, length);
  delays[delay_count].what[length] = 0;
  delays[delay_count++].milliseconds = atof(colon + 1);
}

static __attribute__((unused)) void delay(const char *what) {
  double milliseconds = 0;
  for (int i = 0; i < delay_count; i++)
    if (strstr(what, delays[i].what) != NULL) milliseconds += delays[i].milliseconds;
  if (milliseconds > 0) usleep((useconds_t)(milliseconds * 1000));
}

static order fail_order, hang_order, garbage_order, crash_order;
static char refused_op[64];
/* A class or selector that is not there; "any": surfaces may be of any size. */
static char missing_name[128], surface_rule[16];
/* A service that dies with a crash: the file says how many more calls of any process fail until it is back. */
static char service_file[512];
#define SERVICE_FAILURES 3
static FILE *trace_file;
static int orders_are_read;

static void control(const char *key, const char *value) {
  if (strcmp(key, "fail") == 0) fail_order = parse_order(value);
  else if (strcmp(key, "hang") == 0) hang_order = parse_order(value);
  else if (strcmp(key, "crash") == 0) crash_order = parse_order(value);
  else if (strcmp(key, "garbage") == 0) garbage_order = parse_order(value);
  else if (strcmp(key, "refuse") == 0) snprintf(refused_op, sizeof refused_op, "%s", value == NULL ? "" : value);
  else if (strcmp(key, "delay") == 0) set_delay(value);
  else if (strcmp(key, "arithmetic") == 0) is_arithmetic_off = value != NULL && strcmp(value, "off") == 0;
  else if (strcmp(key, "missing") == 0) snprintf(missing_name, sizeof missing_name, "%s", value == NULL ? "" : value);
  else if (strcmp(key, "surfaces") == 0) snprintf(surface_rule, sizeof surface_rule, "%s", value == NULL ? "" : value);
  else if (strcmp(key, "service") == 0) snprintf(service_file, sizeof service_file, "%s", value == NULL ? "" : value);
  else if (strcmp(key, "watch") == 0) is_watch_off = value != NULL && strcmp(value, "off") == 0;
  else if (strcmp(key, "trace") == 0) {
    if (trace_file != NULL) fclose(trace_file);
    trace_file = value == NULL || *value == 0 ? NULL : fopen(value, "a");
  } else violation("there is no order \"%s\"", key);
}

static void read_orders(void) {
  if (orders_are_read) return;
  orders_are_read = 1;
  static const char *const keys[] = {"fail", "hang", "garbage", "refuse", "trace", "delay", "missing", "surfaces",
                                     "crash", "service"};
  static const char *const names[] = {"ANECDOTE_DOUBLE_FAIL",    "ANECDOTE_DOUBLE_HANG",  "ANECDOTE_DOUBLE_GARBAGE",
                                      "ANECDOTE_DOUBLE_REFUSE",  "ANECDOTE_DOUBLE_TRACE", "ANECDOTE_DOUBLE_DELAY",
                                      "ANECDOTE_DOUBLE_MISSING", "ANECDOTE_DOUBLE_SURFACES", "ANECDOTE_DOUBLE_CRASH",
                                      "ANECDOTE_DOUBLE_SERVICE"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    const char *value = getenv(names[i]);
    if (value != NULL) control(keys[i], value);
  }
}

static int is_due(order *wanted, const char *function) {
  if (wanted->function[0] == 0 || strcmp(wanted->function, function) != 0) return 0;
  if (--wanted->at > 0) return 0;
  wanted->function[0] = 0;
  return 1;
}

static void write_service(int failures) {
  FILE *file = fopen(service_file, "w");
  if (file == NULL) return;
  fprintf(file, "%d", failures);
  fclose(file);
}

/* Whether the service is dead. Each call that finds it so brings it nearer to its restart. */
static int is_service_dead(void) {
  if (service_file[0] == 0) return 0;
  FILE *file = fopen(service_file, "r");
  int failures = 0;
  if (file == NULL) return 0;
  if (fscanf(file, "%d", &failures) != 1) failures = 0;
  fclose(file);
  if (failures <= 0) return 0;
  write_service(failures - 1);
  fprintf(stderr, "double: the service does not answer\n");
  return 1;
}

/* Every exported function begins with this. Returns 1 where the call must fail. */
static int entered(const char *function) {
  read_orders();
  if (trace_file != NULL) {
    fprintf(trace_file, "%s\n", function);
    fflush(trace_file);
  }
  if (is_due(&hang_order, function))
    for (;;) sleep(60);
  if (is_due(&crash_order, function)) {
    fprintf(stderr, "double: %s was told to crash\n", function);
    if (service_file[0] != 0) write_service(SERVICE_FAILURES);
    raise(SIGSEGV);
  }
  if (is_service_dead()) return 1;
  if (is_due(&fail_order, function)) {
    fprintf(stderr, "double: %s was told to fail\n", function);
    return 1;
  }
  return 0;
}

EXPORT void anecdote_double_control(const char *key, const char *value) {
  read_orders();
  control(key, value);
}
EXPORT int64_t anecdote_double_violations(void) { return atomic_load(&violation_count); }
EXPORT const char *anecdote_double_first_violation(void) { return first_violation; }
EXPORT void anecdote_double_forget_violations(void) {
  atomic_store(&violation_count, 0);
  first_violation[0] = 0;
}
#endif
