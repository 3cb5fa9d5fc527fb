import type { Chip, Driver } from "../chip/chip.ts";
import { compileMs } from "../chip/cost/compile.ts";
import { adamwBytes, hostBytesPerMs, hostProgramMs } from "../chip/cost/host.ts";
import { priceCall, pricingRates } from "../chip/cost/model.ts";
import { edgeBytesOf, functionWork } from "../chip/cost/work.ts";
import { LONGEST_PROGRAM, SURFACES } from "../chip/legality/system-rules.ts";
import { byteLengthOf } from "../mil/types.ts";
import { isTransient } from "../plan/plan.ts";
import type { Dispatch, Plan, PlanProgram } from "../plan/plan.ts";
import type { Region } from "../plan/regions.ts";
import type { SplitPlan } from "./host-parts.ts";
import { joinMember, ProgramJoiner } from "./joined-program.ts";
import type { JoinMember } from "./joined-program.ts";
import type { PlacedProgram } from "./ports.ts";
import { updateTypesOf } from "../plan/update-types.ts";

/** How often a section is expected to run, and what stands around it. */
export interface SectionRuns {
  readonly count: number;
  /** Share of the runs that begin while the host still writes weights that they read. Default 0. */
  readonly behindUpdate?: number;
}

/** By the names of a plan's sections; those that are not named are left as they are. */
export type ExpectedRuns = Readonly<Record<string, SectionRuns>>;

/** A way to go on from a dispatch: how many run as one, and the best that is saved from there to the section's end. */
interface Way {
  readonly count: number;
  readonly savedMs: number;
}

/**
 * Neighbouring dispatches of the engine as one program, where the calls and the crossings of a program's edge that this
 * saves over all expected runs are worth more than the time that compiling it takes. Results are the same to the bit.
 *
 * Through e5rt alone: in memory all ports of a side are equally large, and a process compiles about a hundred programs.
 */
export function joinDispatches(
  split: SplitPlan,
  chip: Chip,
  driver: Driver,
  expectedRuns: ExpectedRuns,
): SplitPlan {
  if (driver !== "e5rt") return split;
  const join = new PlanJoin(split, chip, driver);
  // Sections for the first and for later micro-batches run the same programs, compiled once for both.
  const total = Object.values(expectedRuns).reduce((sum, { count }) => sum + count, 0);
  for (const [section, runs] of Object.entries(expectedRuns))
    if (runs.count > 0) join.section(section, { ...runs, count: total });
  return join.finish();
}

class PlanJoin {
  readonly #plan: Plan;
  readonly #placed: ReadonlyMap<string, PlacedProgram>;
  readonly #chip: Chip;
  readonly #floorMs: number;
  readonly #edgeBytesPerMs: number;
  readonly #given: SplitPlan["places"];
  readonly #running: Map<string, readonly (readonly number[])[]>;
  readonly #sections: Map<string, readonly Dispatch[]>;
  readonly #programs: Map<string, PlanProgram>;
  readonly #places: Map<string, PlacedProgram>;
  readonly #names = new Map<string, string>();
  #isChanged = false;

  constructor({ plan, placed, places }: SplitPlan, chip: Chip, driver: Driver) {
    const { floorMs, edgeBytesPerMs } = pricingRates(chip, driver);
    this.#plan = plan;
    this.#placed = placed;
    this.#chip = chip;
    this.#floorMs = floorMs;
    this.#edgeBytesPerMs = edgeBytesPerMs;
    this.#given = places;
    this.#running = new Map(places);
    this.#sections = new Map(plan.sections);
    this.#programs = new Map(plan.programs);
    this.#places = new Map(placed);
  }

  section(section: string, runs: SectionRuns): void {
    const dispatches = this.#plan.sections.get(section);
    if (dispatches === undefined) return;
    const members = dispatches.map((dispatch) => this.#member(dispatch));
    const waits = new Waits(this.#plan, section, { dispatches, members, chip: this.#chip }, runs);
    const ways = this.#ways(dispatches, members, waits, runs.count);
    const joined: Dispatch[] = [];
    const given = this.#given.get(section) ?? [];
    const places: (readonly number[])[] = [];
    for (let index = 0; index < dispatches.length;) {
      const count = ways[index]?.count ?? 1;
      const [dispatch] = dispatches.slice(index, index + 1);
      if (count > 1)
        joined.push(this.#joined(dispatches, members.slice(index, index + count), index + count));
      else if (dispatch !== undefined) joined.push(dispatch);
      places.push([...new Set(given.slice(index, index + count).flat())]);
      index += count;
    }
    this.#sections.set(section, joined);
    this.#running.set(section, places);
  }

  finish(): SplitPlan {
    if (!this.#isChanged) return { plan: this.#plan, placed: this.#placed, places: this.#given };
    const used = new Set([...this.#sections.values()].flat().map(({ program }) => program));
    const programs = new Map([...this.#programs].filter(([name]) => used.has(name)));
    const placed = new Map([...this.#places].filter(([name]) => used.has(name)));
    const plan = { ...this.#plan, programs, sections: this.#sections };
    return { plan, placed, places: this.#running };
  }

  #member(dispatch: Dispatch): JoinMember | undefined {
    const placed = this.#placed.get(dispatch.program);
    const program = this.#plan.programs.get(dispatch.program);
    if (placed?.place !== "engine" || program === undefined || program.asWritten === true)
      return undefined;
    return joinMember(dispatch, program.function, placed.program);
  }

  /** From the section's end: what is best done from each dispatch on. */
  #ways(
    dispatches: readonly Dispatch[],
    members: readonly (JoinMember | undefined)[],
    waits: Waits,
    runs: number,
  ): readonly Way[] {
    const shares = new Shares(dispatches);
    const ways: Way[] = Array.from({ length: dispatches.length + 1 }, () => ({
      count: 1,
      savedMs: 0,
    }));
    for (let start = dispatches.length - 1; start >= 0; start--) {
      const joiner = new ProgramJoiner();
      let best: Way = { count: 1, savedMs: ways[start + 1]?.savedMs ?? 0 };
      for (let end = start; end < members.length; end++) {
        const member = members[end];
        if (member === undefined || (end > start && !joiner.accepts(member))) break;
        joiner.add(member);
        if (joiner.operationCount > LONGEST_PROGRAM) break;
        const isNeeded = this.#isNeeded(dispatches, end + 1);
        if (end === start || joiner.portCount(isNeeded) > SURFACES) continue;
        if (joiner.isIdle(isNeeded)) continue;
        const bytes = joiner.readBytes + joiner.unwrittenBytes(isNeeded);
        const savedMs =
          (end - start) * this.#floorMs +
          bytes / this.#edgeBytesPerMs -
          compileMs(joiner.operationCount) / (runs * shares.of(start, end + 1)) -
          waits.of(start, end + 1) +
          (ways[end + 1]?.savedMs ?? 0);
        if (savedMs > best.savedMs) best = { count: end + 1 - start, savedMs };
      }
      ways[start] = best;
    }
    return ways;
  }

  /** Whether something after a dispatch, or the host, may read what a buffer holds. */
  #isNeeded(dispatches: readonly Dispatch[], end: number): (region: Region) => boolean {
    const last = lastUses(dispatches);
    return ({ buffer }) => {
      const role = this.#plan.buffers.get(buffer)?.role;
      return role === undefined || !isTransient(role) || (last.get(buffer) ?? -1) >= end;
    };
  }

  #joined(
    dispatches: readonly Dispatch[],
    members: readonly (JoinMember | undefined)[],
    end: number,
  ): Dispatch {
    const joiner = new ProgramJoiner();
    for (const member of members) if (member !== undefined) joiner.add(member);
    const { key, bind, build } = joiner.finish(this.#isNeeded(dispatches, end));
    this.#isChanged = true;
    const known = this.#names.get(key);
    if (known !== undefined) return bind(known);
    const name = this.#freeName(members);
    const { plan, engine } = build(name);
    this.#names.set(key, name);
    this.#programs.set(name, plan);
    this.#places.set(name, { place: "engine", program: engine });
    return bind(name);
  }

  #freeName(members: readonly (JoinMember | undefined)[]): string {
    const first = members[0]?.dispatch.program ?? "";
    const last = members.at(-1)?.dispatch.program ?? "";
    const base = `${first === last ? first : `${first}_to_${last}`}_x${members.length}`;
    for (let number = 1; ; number++) {
      const name = number === 1 ? base : `${base}_${number}`;
      if (!this.#programs.has(name)) return name;
    }
  }
}

/**
 * What joining makes engine and host wait for each other. A joined program begins when all that its parts read is there,
 * and its results come when all of it is done.
 */
class Waits {
  readonly #runs: SectionRuns;
  /** Milliseconds, by dispatch: on the engine, of updating weights that nothing before it reads, of the host's part. */
  readonly #engineMs: readonly number[];
  readonly #updateMs: readonly number[];
  readonly #resultMs: readonly number[];

  constructor(
    plan: Plan,
    section: string,
    at: {
      readonly dispatches: readonly Dispatch[];
      readonly members: readonly (JoinMember | undefined)[];
      readonly chip: Chip;
    },
    runs: SectionRuns,
  ) {
    const { dispatches, members, chip } = at;
    const rates = pricingRates(chip, "e5rt");
    const hostRate = hostBytesPerMs(chip);
    const written = writtenElsewhere(plan, section);
    const read = new Set<string>();
    this.#runs = runs;
    this.#engineMs = members.map((member) => {
      if (member === undefined) return 0;
      const work = functionWork(member.program.function);
      return priceCall(work, rates, { edgeBytes: edgeBytesOf(work) }).ms;
    });
    const bytesOf = (buffers: Iterable<string>): number =>
      [...new Set(buffers)].reduce((sum, name) => {
        const spec = plan.buffers.get(name);
        return spec === undefined || isTransient(spec.role) ? sum : sum + byteLengthOf(spec.type);
      }, 0);
    // Bytes that an update moves for each byte of a weight.
    const updatePasses = adamwBytes(updateTypesOf(plan)?.moments ?? "fp32") / 4;
    this.#updateMs = dispatches.map(({ inputs }) => {
      const fresh = [...inputs.values()].flatMap(({ buffer }) =>
        written.has(buffer) && !read.has(buffer) ? [buffer] : [],
      );
      for (const buffer of fresh) read.add(buffer);
      return (updatePasses * bytesOf(fresh)) / hostRate;
    });
    this.#resultMs = dispatches.map(({ program, outputs }, at) => {
      const own = plan.programs.get(program);
      if (members[at] === undefined) return own === undefined ? 0 : hostProgramMs(own, chip);
      const results = [...outputs.values()].map(({ buffer }) => buffer);
      return (RESULT_PASSES * bytesOf(results)) / hostRate;
    });
  }

  /** Milliseconds a run that dispatches from `start` to before `end` lose as one program. */
  of(start: number, end: number): number {
    const { behindUpdate = 0 } = this.#runs;
    let begin = 0;
    let before = this.#engineMs[start] ?? 0;
    for (let at = start + 1; at < end; at++) {
      begin = Math.max(begin, Math.min(before, this.#updateMs[at] ?? 0));
      before += this.#engineMs[at] ?? 0;
    }
    let after = 0;
    for (let at = start; at < end - 1; at++) after += this.#resultMs[at] ?? 0;
    const rest = before - (this.#engineMs[start] ?? 0);
    // What the host cannot take while the engine runs the rest of the section: its end waits for all results.
    let spare = 0;
    for (let at = end; at < this.#engineMs.length; at++)
      spare += (this.#engineMs[at] ?? 0) - (this.#resultMs[at] ?? 0);
    const finish = Math.max(0, Math.min(rest, after) - Math.max(0, spare));
    return behindUpdate * begin + finish;
  }
}

/** What taking a result and counting its norm move for each byte of it. */
const RESULT_PASSES = 2.5;

/** Buffers that other sections write. */
function writtenElsewhere(plan: Plan, section: string): ReadonlySet<string> {
  const names = [...plan.sections].flatMap(([name, dispatches]) =>
    name === section
      ? []
      : dispatches.flatMap(({ outputs }) => [...outputs.values()].map(({ buffer }) => buffer)),
  );
  return new Set(names);
}

/** How often a run of programs stands in a section without overlapping itself: it is compiled once. */
class Shares {
  readonly #programs: readonly string[];
  readonly #known = new Map<string, number>();

  constructor(dispatches: readonly Dispatch[]) {
    this.#programs = dispatches.map(({ program }) => program);
  }

  of(start: number, end: number): number {
    const length = end - start;
    const pattern = this.#programs.slice(start, end).join("\n");
    const known = this.#known.get(pattern);
    if (known !== undefined) return known;
    let count = 0;
    for (let at = 0; at + length <= this.#programs.length;) {
      const isSame = this.#programs.slice(at, at + length).join("\n") === pattern;
      if (isSame) count++;
      at += isSame ? length : 1;
    }
    this.#known.set(pattern, count);
    return Math.max(1, count);
  }
}

const uses = new WeakMap<readonly Dispatch[], ReadonlyMap<string, number>>();

/** The last dispatch of a section that touches each buffer. */
function lastUses(dispatches: readonly Dispatch[]): ReadonlyMap<string, number> {
  const known = uses.get(dispatches);
  if (known !== undefined) return known;
  const last = new Map<string, number>();
  for (const [index, { inputs, outputs }] of dispatches.entries())
    for (const { buffer } of [...inputs.values(), ...outputs.values()]) last.set(buffer, index);
  uses.set(dispatches, last);
  return last;
}
