import { statSync } from "node:fs";
import { join } from "node:path";
import { CHIPS, chipByName } from "../../chip/chips.ts";
import { ChipError } from "../../chip/errors.ts";
import { compiledUrl } from "../../util/source-layout.ts";
import { aside } from "../aside.ts";
import { Refusal } from "../errors.ts";
import type { RunPlan } from "./run-plan.ts";
import type { ChipChoice, PlanView, ProgramText } from "./views.ts";
import { CONFIG_FILE } from "../../runs/config-file.ts";

const KEPT = 12;

/** Steps of runs for chips, made in a thread of their own and kept while the settings stay. */
export class Plans {
  /** In the order of their last use. */
  readonly #known = new Map<string, Promise<RunPlan>>();

  get chips(): readonly ChipChoice[] {
    return CHIPS.map(({ id, name }) => ({ name: id, title: name }));
  }

  async view(folder: string, chip: string | undefined): Promise<PlanView> {
    return (await this.#plan(folder, chip)).view;
  }

  /** Throws `Refusal` 404 for a name that no program has. */
  async text(folder: string, chip: string | undefined, name: string): Promise<ProgramText> {
    const found = (await this.#plan(folder, chip)).texts.get(name);
    if (found !== undefined) return found;
    throw new Refusal(404, `the step has no program ${JSON.stringify(name.slice(0, 100))}`);
  }

  async #plan(folder: string, chip: string | undefined): Promise<RunPlan> {
    if (chip !== undefined) requireChip(chip);
    const time = statSync(join(folder, CONFIG_FILE), { throwIfNoEntry: false })?.mtimeMs;
    const key = [folder, chip, time].join("\n");
    const plan =
      this.#known.get(key) ??
      aside<RunPlan>(compiledUrl("server/plan/plan-worker.ts"), {
        folder,
        ...(chip !== undefined && { chip }),
      });
    this.#known.delete(key);
    this.#known.set(key, plan);
    plan.catch(() => this.#known.delete(key));
    for (const old of this.#known.keys()) {
      if (this.#known.size <= KEPT) break;
      this.#known.delete(old);
    }
    return plan;
  }
}

/** Throws `Refusal` 400 for a chip that nobody knows. */
export function requireChip(name: string): void {
  try {
    chipByName(name);
  } catch (error) {
    if (error instanceof ChipError)
      throw new Refusal(400, error.message, { param: "chip", code: "unknown_chip" });
    throw error;
  }
}
