/*
 * A stand-in for libIOReport and the few functions of CoreFoundation called with it. Every object counts its owners:
 * a release too many, the use of a dead object and an operand of the wrong kind are breaches, and what is left over
 * is counted. Each sample stands 500 mJ of the Neural Engine, 2 x 1 J of two CPU dies and 250 mJ of the GPU after
 * the one before.
 */
#include "orders.h"

#define UTF8 0x08000100u
#define MAGIC 0x10CE907Full

typedef enum { STRING, DICTIONARY, ARRAY, CHANNEL, SUBSCRIPTION } kind;
static const char *const KINDS[] = {"string", "dictionary", "array", "channel", "subscription"};

typedef struct object object;
struct object {
  uint64_t magic;
  kind kind;
  long owners;
  char text[64];
  int is_mutable, is_sample;
  long sample;          /* of a dictionary: the number of the sample, or of a delta how many lie between */
  object *channels;     /* of a dictionary: the array */
  object *items[16];    /* of an array */
  long item_count;
  object *name, *unit;  /* of a channel */
  int64_t value;
};

static long live_count, sample_count, call_count;

static const struct {
  const char *name, *unit;
  int64_t step;
} CHANNELS[] = {
    {"EACC_CPU0", "mJ", 300},          {"DIE_0_CPU Energy", "uJ", 1000000}, {"DIE_1_CPU Energy", "uJ", 1000000},
    {"GPU Energy", "nJ   ", 250000000}, {"ANE", "mJ", 500},                   {"DRAM", "mJ", 70},
    {"GPU SRAM", "mJ", 9},
};
#define CHANNEL_COUNT ((long)(sizeof CHANNELS / sizeof *CHANNELS))

static object *make(kind of) {
  object *made = calloc(1, sizeof(object));
  made->magic = MAGIC;
  made->kind = of;
  made->owners = 1;
  live_count++;
  return made;
}

static object *string(const char *text) {
  object *made = make(STRING);
  snprintf(made->text, sizeof made->text, "%s", text);
  return made;
}

/* Objects are never freed, so that the dead are known. */
static int is_live(const char *function, object *of, kind wanted) {
  call_count++;
  if (of == NULL) violation("%s is given null for a %s", function, KINDS[wanted]);
  else if (of->magic != MAGIC) violation("%s is given what is no object", function);
  else if (of->owners <= 0) violation("%s is given a %s that was released", function, KINDS[of->kind]);
  else if (of->kind != wanted) violation("%s is given a %s for a %s", function, KINDS[of->kind], KINDS[wanted]);
  else return 1;
  return 0;
}

static void let_go(object *of) {
  if (of == NULL || --of->owners > 0) return;
  live_count--;
  let_go(of->channels);
  let_go(of->name);
  let_go(of->unit);
  for (long i = 0; i < of->item_count; i++) let_go(of->items[i]);
}

static object *array_of_channels(long steps) {
  object *array = make(ARRAY);
  for (long i = 0; i < CHANNEL_COUNT; i++) {
    object *channel = make(CHANNEL);
    channel->name = string(CHANNELS[i].name);
    channel->unit = string(CHANNELS[i].unit);
    channel->value = CHANNELS[i].step * steps;
    array->items[array->item_count++] = channel;
  }
  return array;
}

EXPORT object *CFStringCreateWithCString(void *allocator, const char *text, uint32_t encoding) {
  if (entered("CFStringCreateWithCString")) return NULL;
  if (allocator != NULL || encoding != UTF8) violation("a string is made in another encoding than UTF-8");
  return string(text);
}

EXPORT int8_t CFStringGetCString(object *text, uint8_t *buffer, int64_t size, uint32_t encoding) {
  if (entered("CFStringGetCString") || !is_live("CFStringGetCString", text, STRING)) return 0;
  if (encoding != UTF8 || size < 2) violation("CFStringGetCString gets encoding %x and %ld bytes", encoding, (long)size);
  if ((int64_t)strlen(text->text) >= size) return 0;
  strcpy((char *)buffer, text->text);
  return 1;
}

EXPORT object *CFDictionaryGetValue(object *dictionary, object *key) {
  if (entered("CFDictionaryGetValue")) return NULL;
  if (!is_live("CFDictionaryGetValue", dictionary, DICTIONARY) || !is_live("CFDictionaryGetValue", key, STRING))
    return NULL;
  return strcmp(key->text, "IOReportChannels") == 0 ? dictionary->channels : NULL;
}

EXPORT object *CFDictionaryCreateMutableCopy(void *allocator, int64_t capacity, object *of) {
  if (entered("CFDictionaryCreateMutableCopy") || !is_live("CFDictionaryCreateMutableCopy", of, DICTIONARY)) return NULL;
  if (allocator != NULL || capacity < 0) violation("a copy of %ld entries is asked for", (long)capacity);
  object *made = make(DICTIONARY);
  made->is_mutable = 1;
  made->channels = of->channels;
  made->channels->owners++;
  return made;
}

EXPORT int64_t CFArrayGetCount(object *array) {
  if (entered("CFArrayGetCount")) return -1;
  return is_live("CFArrayGetCount", array, ARRAY) ? array->item_count : 0;
}

EXPORT object *CFArrayGetValueAtIndex(object *array, int64_t index) {
  if (entered("CFArrayGetValueAtIndex") || !is_live("CFArrayGetValueAtIndex", array, ARRAY)) return NULL;
  if (index < 0 || index >= array->item_count) {
    violation("item %ld of an array of %ld", (long)index, array->item_count);
    return NULL;
  }
  return array->items[index];
}

EXPORT void CFRelease(object *of) {
  entered("CFRelease");
  call_count++;
  if (of == NULL) violation("CFRelease of null ends a real process");
  else if (of->magic != MAGIC) violation("CFRelease of what is no object");
  else if (of->owners <= 0) violation("a %s is released once too often", KINDS[of->kind]);
  else let_go(of);
}

EXPORT object *IOReportCopyChannelsInGroup(object *group, object *subgroup, uint64_t a, uint64_t b, uint64_t c) {
  if (entered("IOReportCopyChannelsInGroup") || !is_live("IOReportCopyChannelsInGroup", group, STRING)) return NULL;
  if (subgroup != NULL || a != 0 || b != 0 || c != 0) violation("IOReportCopyChannelsInGroup is asked for a part");
  if (strcmp(group->text, "Energy Model") != 0) return NULL;
  object *made = make(DICTIONARY);
  made->channels = array_of_channels(0);
  return made;
}

EXPORT object *IOReportCreateSubscription(void *allocator, object *wanted, object **subscribed, uint64_t channel,
                                          void *options) {
  if (entered("IOReportCreateSubscription") || !is_live("IOReportCreateSubscription", wanted, DICTIONARY)) return NULL;
  if (allocator != NULL || channel != 0 || options != NULL) violation("IOReportCreateSubscription gets unknown operands");
  if (!wanted->is_mutable) violation("the channels of a subscription cannot be changed");
  object *made = make(SUBSCRIPTION);
  object *given = make(DICTIONARY);
  given->is_mutable = 1;
  given->channels = wanted->channels;
  given->channels->owners++;
  /* The subscription keeps it: a caller who releases it takes what is not his. */
  made->channels = given;
  *subscribed = given;
  return made;
}

EXPORT object *IOReportCreateSamples(object *subscription, object *channels, void *options) {
  if (entered("IOReportCreateSamples")) return NULL;
  if (!is_live("IOReportCreateSamples", subscription, SUBSCRIPTION) ||
      !is_live("IOReportCreateSamples", channels, DICTIONARY))
    return NULL;
  if (options != NULL) violation("IOReportCreateSamples gets unknown operands");
  object *made = make(DICTIONARY);
  made->is_sample = 1;
  made->sample = ++sample_count;
  made->channels = array_of_channels(made->sample);
  return made;
}

EXPORT object *IOReportCreateSamplesDelta(object *earlier, object *later, void *options) {
  if (entered("IOReportCreateSamplesDelta")) return NULL;
  if (!is_live("IOReportCreateSamplesDelta", earlier, DICTIONARY) ||
      !is_live("IOReportCreateSamplesDelta", later, DICTIONARY))
    return NULL;
  if (!earlier->is_sample || !later->is_sample || options != NULL || earlier->sample >= later->sample)
    violation("a difference of what are not two samples, the earlier first");
  object *made = make(DICTIONARY);
  made->channels = array_of_channels(later->sample - earlier->sample);
  return made;
}

EXPORT object *IOReportChannelGetChannelName(object *channel) {
  if (entered("IOReportChannelGetChannelName") || !is_live("IOReportChannelGetChannelName", channel, CHANNEL))
    return NULL;
  return channel->name;
}

EXPORT object *IOReportChannelGetUnitLabel(object *channel) {
  if (entered("IOReportChannelGetUnitLabel") || !is_live("IOReportChannelGetUnitLabel", channel, CHANNEL)) return NULL;
  if (is_due(&garbage_order, "unit")) strcpy(channel->unit->text, "furlongs");
  return channel->unit;
}

EXPORT int64_t IOReportSimpleGetIntegerValue(object *channel, int64_t index) {
  if (entered("IOReportSimpleGetIntegerValue")) return INT64_MIN;
  if (!is_live("IOReportSimpleGetIntegerValue", channel, CHANNEL)) return 0;
  if (index != 0) violation("IOReportSimpleGetIntegerValue of part %ld", (long)index);
  return is_due(&garbage_order, "value") ? INT64_MAX : channel->value;
}

EXPORT int64_t anecdote_double_count(const char *what) {
  if (strcmp(what, "live") == 0) return live_count;
  if (strcmp(what, "samples") == 0) return sample_count;
  return strcmp(what, "calls") == 0 ? call_count : -1;
}
EXPORT void anecdote_double_forget_counts(void) { sample_count = call_count = 0; }
