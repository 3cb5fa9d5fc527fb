/** A device as the system describes it; "software" is a processor that plays one. */
export interface GpuDevice {
  readonly name: string;
  readonly kind: "integrated" | "discrete" | "virtual" | "software" | "unknown";
}
