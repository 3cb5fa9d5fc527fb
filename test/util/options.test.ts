import { describe, expect, it } from "vitest";
import {
  choiceOption,
  flagOption,
  numberOption,
  resolveOptions,
  textOption,
} from "../../src/util/options.ts";
import { OptionError } from "../../src/util/option-error.ts";

const TABLE = {
  max_steps: numberOption("updates", { integer: true, minimum: 1, aliases: ["iters"] }),
  output_dir: textOption("folder"),
  resume: flagOption("go on"),
  recompute: choiceOption("what is kept", ["none", "auto", "full"]),
} as const;

const layer = (origin: string, values: Record<string, unknown>) => ({ origin, values });

describe("options", () => {
  it("lets later layers win and remembers where each value came from", () => {
    const { values, origins } = resolveOptions(TABLE, [
      layer("default", { max_steps: 10, output_dir: "runs" }),
      layer("run.yaml", { max_steps: 20 }),
      layer("command line", { resume: true }),
    ]);
    expect(values).toEqual({ max_steps: 20, output_dir: "runs", resume: true });
    expect(origins.get("max_steps")).toBe("run.yaml");
    expect(origins.get("output_dir")).toBe("default");
  });

  it("takes other tools' spellings for its own", () => {
    expect(resolveOptions(TABLE, [layer("file", { iters: 5 })]).values.max_steps).toBe(5);
    expect(resolveOptions(TABLE, [layer("file", { "output-dir": "x" })]).values.output_dir).toBe(
      "x",
    );
  });

  it("names the origin and the nearest option for an unknown key", () => {
    expect(() => resolveOptions(TABLE, [layer("run.yaml", { max_step: 5 })])).toThrow(
      /run\.yaml: there is no option "max_step"\. Did you mean "max_steps"\?/,
    );
  });

  it("names the value and the nearest choice", () => {
    expect(() => resolveOptions(TABLE, [layer("f", { recompute: "autp" })])).toThrow(
      /Did you mean "auto"/,
    );
    expect(() => resolveOptions(TABLE, [layer("f", { max_steps: 0.5 })])).toThrow(OptionError);
  });

  it("does not mistake prototype names for options", () => {
    for (const key of ["__proto__", "constructor", "toString"]) {
      const values = Object.fromEntries([[key, 1]]);
      expect(() => resolveOptions(TABLE, [layer("f", values)])).toThrow(/there is no option/);
    }
  });
});
