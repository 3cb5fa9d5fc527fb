import type { Chip, Driver } from "../../chip/chip.ts";
import { tellEnd } from "./child-process.ts";
import type { EndedTask } from "./child-process.ts";
import type { OpRow } from "./op-rows.ts";
import type { Outcome, ProbeResult } from "./outcome.ts";
import type { Probe } from "./probe.ts";
import type { Task } from "./task.ts";

export const TIME_LIMIT_MS = 60_000;
const EXPECTED_MS = 1000;
const OP_MS = 400;
/** Programs that the in-memory driver may compile in one process, with room. */
const OPS_PER_PROCESS = 12;

/** One thing to be asked, whatever its kind. */
export interface Item {
  readonly id: string;
  readonly title: string;
  readonly needs: readonly string[];
  /** Items of one batch may share a process, so many at most. */
  readonly batch: { readonly name: string; readonly limit: number } | undefined;
  readonly expectedMs: number;
  readonly limitMs: number;
  readonly rounds: number;
  readonly task: (round: number) => Task;
  readonly result: (ended: EndedTask) => ProbeResult;
  readonly notTried: (why: string) => ProbeResult;
}

export function probeItem(probe: Probe, driver: Driver, chip: Chip): Item {
  const base = {
    id: probe.id,
    group: probe.group,
    title: probe.title,
    driver,
    source: probe.source,
    ...(probe.assumption !== undefined && { assumption: probe.assumption }),
    ...(probe.rule !== undefined && { rule: probe.rule }),
  };
  return {
    id: probe.id,
    title: probe.title,
    needs: probe.needs,
    batch:
      probe.batch === undefined
        ? undefined
        : { name: probe.batch, limit: probe.isCompiling === true ? OPS_PER_PROCESS : Infinity },
    expectedMs: probe.expectedMs ?? EXPECTED_MS,
    limitMs: probe.timeLimitMs ?? TIME_LIMIT_MS,
    rounds: probe.rounds ?? 1,
    task: (round) => ({ kind: "probe", id: probe.id, round }),
    result: (ended) => {
      const outcome = outcomeOf(ended, probe.failure, (end) =>
        probe.judgeDeath?.({ chip, driver }, end),
      );
      return { ...resultOf(base, ended, outcome), means: probe.means[outcome.verdict] };
    },
    notTried: (why) => ({ ...untried(base, why), means: probe.means.unknown }),
  };
}

export function opItem(row: OpRow, driver: Driver): Item {
  const base = {
    id: row.id,
    group: "ops" as const,
    title: row.id.slice("op.".length),
    driver,
    source: `plans of ${row.presets.join(", ")}`,
  };
  return {
    id: row.id,
    title: base.title,
    needs: ["program.runs"],
    batch: { name: "ops", limit: OPS_PER_PROCESS },
    expectedMs: OP_MS,
    limitMs: TIME_LIMIT_MS,
    rounds: 1,
    task: () => ({ kind: "op", id: row.id, text: row.text, seed: 1 }),
    result: (ended) => resultOf(base, ended, outcomeOf(ended, "did not hold")),
    notTried: (why) => untried(base, why),
  };
}

type Base = Pick<ProbeResult, "id" | "group" | "title" | "driver" | "source">;

function outcomeOf(
  ended: EndedTask,
  failure: Outcome["verdict"],
  judgeDeath: (end: string) => Outcome | undefined = () => undefined,
): Outcome {
  const { end } = ended;
  if (end.ended === "told") return end.outcome;
  const told = tellEnd(end);
  const isDeath = end.ended !== "error";
  const judged = isDeath ? judgeDeath(told) : undefined;
  if (judged !== undefined) return judged;
  const [lastLine] = ended.stderr.split("\n").slice(-1);
  const words = isDeath && lastLine !== undefined && lastLine !== "" ? `; stderr: ${lastLine}` : "";
  return { verdict: failure, detail: `${told}${words}` };
}

function resultOf(base: Base, ended: EndedTask, outcome: Outcome): ProbeResult {
  const { end, stderr } = ended;
  return {
    ...base,
    verdict: outcome.verdict,
    detail: outcome.detail,
    ...(outcome.measured !== undefined && { measured: { ...outcome.measured } }),
    ended: end.ended,
    ...(end.ended === "signal" && { signal: end.signal }),
    ...(end.ended === "exit" && { exit_code: end.code }),
    ...(stderr !== "" && { stderr }),
    elapsed_ms: Math.round(ended.elapsedMs),
    at: new Date().toISOString(),
  };
}

function untried(base: Base, why: string): ProbeResult {
  return {
    ...base,
    verdict: "unknown",
    detail: why,
    ended: "not tried",
    elapsed_ms: 0,
    at: new Date().toISOString(),
  };
}
