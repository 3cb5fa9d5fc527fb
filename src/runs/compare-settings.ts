/** Settings that differ between runs without meaning anything. */
const PLACES: ReadonlySet<string> = new Set(["output_dir", "resume"]);

/** One setting of several runs, in their order; undefined where a run has none. */
export interface SettingRow {
  readonly name: string;
  readonly values: readonly unknown[];
  readonly isDifferent: boolean;
}

/** Settings of runs side by side, by name; `output_dir` and `resume`, which differ always, are left out. */
export function compareSettings(
  configs: readonly Readonly<Record<string, unknown>>[],
): readonly SettingRow[] {
  const names = [...new Set(configs.flatMap((config) => Object.keys(config)))].sort();
  return names
    .filter((name) => !PLACES.has(name))
    .map((name) => {
      const values = configs.map((config) => config[name]);
      const texts = values.map((value) => JSON.stringify(value));
      return { name, values, isDifferent: texts.some((text) => text !== texts[0]) };
    });
}
