export { POWER_CHOICES, openPowerMeter, powerChoice } from "./open-meter.ts";
export type { OpenMeterOptions, OpenedMeter, PowerChoice } from "./open-meter.ts";
export { METERS } from "./meter.ts";
export type { MeterListener, MeterName, PowerMeter } from "./meter.ts";
