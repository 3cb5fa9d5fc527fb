import type { MilFunction } from "../../mil/program.ts";
import type { Plan } from "../../plan/plan.ts";
import { isConstexpr, isOpName } from "../../mil/ops/index.ts";
import { familyIndex } from "../chip.ts";
import type { Chip, Driver } from "../chip.ts";
import { FUNCTION_RULES, PLAN_RULES } from "./function-rules.ts";
import { LIMIT_RULES } from "./limit-rules.ts";
import { FunctionUses, OpView } from "./op-view.ts";
import { PRODUCT_RULES } from "./product-rules.ts";
import type { AnyRule, OpRule, RuleContext, RuleText, Severity, Symptom } from "./rule.ts";
import { VALUE_RULES } from "./value-rules.ts";

const OP_RULES: readonly OpRule[] = [...LIMIT_RULES, ...PRODUCT_RULES, ...VALUE_RULES];

const UNKNOWN_OP: RuleText = {
  id: "unknown-op",
  rule: "The op is not in the op table, so nothing is known about it on the engine.",
  symptom: "compile-error",
  severity: "warning",
  source: "op table",
  remedy: "`anecdote ops` lists the known ones.",
};

/** One place where a program breaks a rule. */
export interface Finding {
  readonly rule: string;
  readonly severity: Severity;
  readonly symptom: Symptom;
  /** Program of a plan, or function of a file. */
  readonly where: string;
  /** The op's type and its result's name; absent for findings about a whole function or plan. */
  readonly op?: string;
  readonly result?: string;
  /** What the rule says. */
  readonly says: string;
  /** What was found, with both numbers. */
  readonly detail: string;
  readonly source: string;
  readonly remedy: string;
  readonly contradictedBy?: string;
}

/** All rules broken by a function on a chip through a driver, in the order of its ops. */
export function checkFunction(
  fn: MilFunction,
  chip: Chip,
  driver: Driver,
  where = fn.name,
): readonly Finding[] {
  const context: RuleContext = { chip, driver };
  const findings: Finding[] = [];
  for (const rule of FUNCTION_RULES) {
    const detail = holdsFor(rule, context) ? rule.applies(fn, context) : undefined;
    if (detail !== undefined) findings.push(finding(rule, where, detail));
  }
  const uses = new FunctionUses(fn);
  const rules = OP_RULES.filter((rule) => holdsFor(rule, context));
  for (const operation of fn.operations) {
    if (operation.type === "const") continue;
    const view = new OpView(operation, uses);
    if (!isOpName(operation.type) && !isConstexpr(operation.type)) {
      findings.push(finding(UNKNOWN_OP, where, `${view.type} is unknown`, view));
    }
    for (const rule of rules) {
      if (rule.ops !== "all" && !rule.ops.includes(operation.type)) continue;
      const { applies = ({ type }) => `${type} is used` } = rule;
      const detail = applies(view, context);
      if (detail !== undefined) findings.push(finding(rule, where, detail, view));
    }
  }
  return findings;
}

/** All rules broken by the programs a plan runs on the engine, and by the plan itself. */
export function checkPlan(plan: Plan, chip: Chip, driver: Driver): readonly Finding[] {
  const context: RuleContext = { chip, driver };
  const findings: Finding[] = [];
  for (const rule of PLAN_RULES) {
    const detail = holdsFor(rule, context) ? rule.applies(plan, context) : undefined;
    if (detail !== undefined) findings.push(finding(rule, plan.name, detail));
  }
  for (const program of plan.programs.values()) {
    // A program with a host kernel never reaches the engine.
    if (program.hostKernel !== undefined) continue;
    findings.push(...checkFunction(program.function, chip, driver, program.name));
  }
  return findings;
}

/** Whether no finding forbids a program: warnings do not. */
export function isLegal(findings: readonly Finding[]): boolean {
  return !findings.some(({ severity }) => severity === "error");
}

/** Every rule there is, for printing and for tests. */
export function allRules(): readonly AnyRule[] {
  return [...PLAN_RULES, ...FUNCTION_RULES, ...OP_RULES];
}

function holdsFor(rule: AnyRule, { chip, driver }: RuleContext): boolean {
  const family = familyIndex(chip.family);
  return (
    isForDriver(rule, driver) &&
    (rule.from === undefined || family >= familyIndex(rule.from)) &&
    (rule.to === undefined || family <= familyIndex(rule.to))
  );
}

/** Whether a rule is about a driver's way. */
export function isForDriver({ driver }: Pick<RuleText, "driver">, asked: Driver): boolean {
  return driver === undefined || driver === asked;
}

/** What is told of a broken rule. */
export function finding(
  rule: Omit<RuleText, "from" | "to">,
  where: string,
  detail: string,
  view?: OpView,
): Finding {
  return {
    rule: rule.id,
    severity: rule.severity,
    symptom: rule.symptom,
    where,
    ...(view !== undefined && { op: view.type, result: view.name }),
    says: rule.rule,
    detail,
    source: rule.source,
    remedy: rule.remedy,
    ...(rule.contradictedBy !== undefined && { contradictedBy: rule.contradictedBy }),
  };
}
