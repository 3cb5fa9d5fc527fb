import type { Probe } from "./probe.ts";
export const RATE_PROBES: readonly Probe[] = [];
