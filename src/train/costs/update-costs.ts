import type { EngineUsage } from "../../engine/engine.ts";
import type { ByRail, EnergyReading } from "../../util/energy.ts";
import { energyBetween, energySum, meanWatts } from "../../util/energy.ts";

/** What updates took, evaluation, samples and checkpoints left out. */
export interface UpdateCosts {
  readonly steps: number;
  readonly tokens: number;
  readonly seconds: number;
  /** Of a Neural Engine. */
  readonly usage: EngineUsage | undefined;
  readonly energy: EnergyCosts | undefined;
}

/** A meter's readings while there were updates. */
export interface EnergyCosts extends EnergyReading {
  /** Mean over the readings. */
  readonly watts: ByRail;
  /** Of all rails together, where they are known: mean power times the time an update took. */
  readonly joulesPerStep: number | undefined;
  readonly joulesPerToken: number | undefined;
  /** Of the Neural Engine's programs over the power of its rail. */
  readonly flopsPerJoule: number | undefined;
}

/** Readers of counters that only grow. */
export interface CostSources {
  readonly usage: () => EngineUsage | undefined;
  readonly energy: () => EnergyReading | undefined;
  /** Milliseconds. Default: this process's clock. */
  readonly clock?: () => number;
}

/**
 * Counts what updates cost between `resume` and `pause`. A meter reads now and then, so that its readings begin and
 * end up to one reading apart from the updates; a report in which no reading fell leaves the energy to the next one.
 */
export class UpdateMeter {
  readonly #sources: CostSources;
  readonly #clock: () => number;
  readonly #report = new Window();
  readonly #metered = new Window();
  readonly #total = new Window();
  #base: Snapshot | undefined;

  constructor(sources: CostSources) {
    this.#sources = sources;
    this.#clock = sources.clock ?? (() => performance.now());
  }

  resume(): void {
    this.#base ??= this.#snapshot();
  }

  pause(): void {
    this.#bank();
    this.#base = undefined;
  }

  /** An update was done. */
  count(tokens: number): void {
    for (const window of this.#windows()) {
      window.steps++;
      window.tokens += tokens;
    }
  }

  /** What was counted since the last report. */
  report(): UpdateCosts {
    this.#bank();
    const energy = energyCosts(this.#metered);
    const costs = { ...costsOf(this.#report), energy };
    this.#report.clear();
    if (energy !== undefined) this.#metered.clear();
    return costs;
  }

  /** What was counted since the beginning. */
  total(): UpdateCosts {
    this.#bank();
    return { ...costsOf(this.#total), energy: energyCosts(this.#total) };
  }

  #windows(): readonly Window[] {
    return [this.#report, this.#metered, this.#total];
  }

  #bank(): void {
    if (this.#base === undefined) return;
    const now = this.#snapshot();
    for (const window of this.#windows()) window.add(this.#base, now);
    this.#base = now;
  }

  #snapshot(): Snapshot {
    return {
      ms: this.#clock(),
      usage: this.#sources.usage(),
      energy: this.#sources.energy(),
    };
  }
}

interface Snapshot {
  readonly ms: number;
  readonly usage: EngineUsage | undefined;
  readonly energy: EnergyReading | undefined;
}

class Window {
  steps = 0;
  tokens = 0;
  seconds = 0;
  usage: EngineUsage | undefined;
  energy: EnergyReading | undefined;

  add(from: Snapshot, to: Snapshot): void {
    this.seconds += (to.ms - from.ms) / 1000;
    if (from.usage !== undefined && to.usage !== undefined) {
      const before = this.usage ?? { engineMs: 0, hostMs: 0, wallMs: 0, flops: 0 };
      this.usage = {
        engineMs: before.engineMs + to.usage.engineMs - from.usage.engineMs,
        hostMs: before.hostMs + to.usage.hostMs - from.usage.hostMs,
        wallMs: before.wallMs + to.usage.wallMs - from.usage.wallMs,
        flops: before.flops + to.usage.flops - from.usage.flops,
      };
    }
    // Energy before the first reading that was seen may be that of something else.
    if (to.energy === undefined || from.energy === undefined || from.energy.seconds === 0) return;
    if (to.energy.seconds <= from.energy.seconds) return;
    this.energy = energySum(this.energy, energyBetween(from.energy, to.energy));
  }

  clear(): void {
    this.steps = this.tokens = this.seconds = 0;
    this.usage = this.energy = undefined;
  }
}

function costsOf({ steps, tokens, seconds, usage }: Window): Omit<UpdateCosts, "energy"> {
  return { steps, tokens, seconds, usage };
}

function energyCosts({ energy, steps, tokens, seconds, usage }: Window): EnergyCosts | undefined {
  if (energy === undefined || steps === 0) return undefined;
  const watts = meanWatts(energy);
  const joules = watts.package === undefined ? undefined : watts.package * seconds;
  return {
    ...energy,
    watts,
    joulesPerStep: joules === undefined ? undefined : joules / steps,
    joulesPerToken: joules === undefined || tokens === 0 ? undefined : joules / tokens,
    flopsPerJoule:
      usage === undefined || watts.ane === undefined || watts.ane === 0
        ? undefined
        : usage.flops / (watts.ane * seconds),
  };
}
