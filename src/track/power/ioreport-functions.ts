/**
 * What is called of libIOReport and CoreFoundation. IOReport has no header: names, operands and who owns what are
 * those of public programs that run on M1 to M5 (macmon, socpowerbud, NeoAsitop), and follow CoreFoundation's rule:
 * what Create and Copy return is the caller's, what Get returns is not.
 */
const SOCPOWERBUD = "socpowerbud (github.com/dehydratedpotato/socpowerbud), header";
const MACMON = "macmon (github.com/vladkens/macmon), sources.rs";
const APPLE = "Apple's CoreFoundation reference";

interface Prototype {
  readonly c: string;
  /** The result is the caller's to release. */
  readonly owned: boolean;
  readonly source: string;
}

export const IOREPORT_LIBRARY = "/usr/lib/libIOReport.dylib";
export const CORE_FOUNDATION = "/System/Library/Frameworks/CoreFoundation.framework/CoreFoundation";

export const IOREPORT_FUNCTIONS = {
  /** Group, subgroup or null, three zeros: the channels' description. */
  IOReportCopyChannelsInGroup: {
    c: "void *IOReportCopyChannelsInGroup(void *, void *, uint64_t, uint64_t, uint64_t)",
    owned: true,
    source: SOCPOWERBUD,
  },
  /**
   * Null, mutable channels, receives the subscribed channels, 0, null. Whether the received dictionary is the
   * caller's is told differently; it is not released, which at worst leaks one a process.
   */
  IOReportCreateSubscription: {
    c: "void *IOReportCreateSubscription(void *, void *, _Out_ void **, uint64_t, void *)",
    owned: true,
    source: SOCPOWERBUD,
  },
  IOReportCreateSamples: {
    c: "void *IOReportCreateSamples(void *, void *, void *)",
    owned: true,
    source: SOCPOWERBUD,
  },
  /** Earlier, later, null. */
  IOReportCreateSamplesDelta: {
    c: "void *IOReportCreateSamplesDelta(void *, void *, void *)",
    owned: true,
    source: SOCPOWERBUD,
  },
  IOReportChannelGetChannelName: {
    c: "void *IOReportChannelGetChannelName(void *)",
    owned: false,
    source: MACMON,
  },
  /** "mJ", "uJ", "nJ", with spaces behind. */
  IOReportChannelGetUnitLabel: {
    c: "void *IOReportChannelGetUnitLabel(void *)",
    owned: false,
    source: MACMON,
  },
  /** The second operand is an int in some programs and an address in others: 0 is both. */
  IOReportSimpleGetIntegerValue: {
    c: "int64_t IOReportSimpleGetIntegerValue(void *, int64_t)",
    owned: false,
    source: MACMON,
  },
} as const satisfies Readonly<Record<string, Prototype>>;

export const FOUNDATION_FUNCTIONS = {
  CFStringCreateWithCString: {
    c: "void *CFStringCreateWithCString(void *, const char *, uint32_t)",
    owned: true,
    source: APPLE,
  },
  CFStringGetCString: {
    c: "bool CFStringGetCString(void *, _Out_ uint8_t *, int64_t, uint32_t)",
    owned: false,
    source: APPLE,
  },
  CFDictionaryGetValue: {
    c: "void *CFDictionaryGetValue(void *, void *)",
    owned: false,
    source: APPLE,
  },
  /** Null, 0 for any number of entries, what is copied. */
  CFDictionaryCreateMutableCopy: {
    c: "void *CFDictionaryCreateMutableCopy(void *, int64_t, void *)",
    owned: true,
    source: APPLE,
  },
  CFArrayGetCount: { c: "int64_t CFArrayGetCount(void *)", owned: false, source: APPLE },
  CFArrayGetValueAtIndex: {
    c: "void *CFArrayGetValueAtIndex(void *, int64_t)",
    owned: false,
    source: APPLE,
  },
  CFRelease: { c: "void CFRelease(void *)", owned: false, source: APPLE },
} as const satisfies Readonly<Record<string, Prototype>>;

/** kCFStringEncodingUTF8. */
export const UTF8 = 0x0800_0100;
