import type { MilFunction } from "../../mil/program.ts";
import type { Plan } from "../../plan/plan.ts";
import type { Chip, Driver, Family } from "../chip.ts";
import type { OpView } from "./op-view.ts";

/** How the engine answers to a broken rule. */
export type Symptom =
  | "compile-error"
  | "evaluation-error"
  | "wrong-result"
  | "process"
  | "slow"
  | "inexact";

/**
 * `error`: refused, or wrong whatever the numbers. `warning`: sources disagree, it depends on the numbers,
 * or it is only slow. `handled`: the engine's driver takes care of it; told so that nobody is surprised.
 */
export type Severity = "error" | "warning" | "handled";

/** What a rule says, and how sure it is. */
export interface RuleText {
  readonly id: string;
  /** What must hold, as a sentence. */
  readonly rule: string;
  readonly symptom: Symptom;
  readonly severity: Severity;
  /** Families it was seen on; both ends included, absent means open. */
  readonly from?: Family;
  readonly to?: Family;
  /** Absent means both. */
  readonly driver?: Driver;
  readonly source: string;
  readonly remedy: string;
  /** Who saw the opposite. */
  readonly contradictedBy?: string;
}

/** For which chip and driver a rule is asked. */
export interface RuleContext {
  readonly chip: Chip;
  readonly driver: Driver;
}

/** Each `applies` returns what breaks the rule, with both numbers, or nothing. */
export interface OpRule extends RuleText {
  /** Ops it looks at; "all" for every op but constants. */
  readonly ops: readonly string[] | "all";
  /** What of this call breaks the rule, with both numbers; nothing where it holds. Absent: that the op is used. */
  readonly applies?: (call: OpView, context: RuleContext) => string | undefined;
}

/** A rule about a whole function: its inputs, results and ops together. */
export interface FunctionRule extends RuleText {
  /** What of the function breaks the rule, with both numbers; nothing where it holds. */
  readonly applies: (fn: MilFunction, context: RuleContext) => string | undefined;
}

/** A rule about a plan: its programs, buffers and how often they run. */
export interface PlanRule extends RuleText {
  /** What of the plan breaks the rule, with both numbers; nothing where it holds. */
  readonly applies: (plan: Plan, context: RuleContext) => string | undefined;
}

/** A rule about an op, a function or a plan. */
export type AnyRule = OpRule | FunctionRule | PlanRule;
