/** Opsets as text names them, as models name them, and the specification that came with each. */
export const OPSET_NAMES: readonly {
  readonly text: string;
  readonly model: string;
  readonly specificationVersion: number;
}[] = [
  { text: "ios13", model: "CoreML3", specificationVersion: 4 },
  { text: "ios14", model: "CoreML4", specificationVersion: 5 },
  { text: "ios15", model: "CoreML5", specificationVersion: 6 },
  { text: "ios16", model: "CoreML6", specificationVersion: 7 },
  { text: "ios17", model: "CoreML7", specificationVersion: 8 },
  { text: "ios18", model: "CoreML8", specificationVersion: 9 },
  { text: "ios26", model: "CoreML9", specificationVersion: 10 },
];

/** `CoreML8` as `ios18`; an unknown name stays as it is. */
export function opsetFromModel(name: string): string {
  return OPSET_NAMES.find(({ model }) => model === name)?.text ?? name;
}

/** `ios18` as `CoreML8`; an unknown name stays as it is. */
export function opsetToModel(name: string): string {
  return OPSET_NAMES.find(({ text }) => text === name)?.model ?? name;
}
