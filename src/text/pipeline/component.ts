import { TextError } from "../errors.ts";
import type { ComponentJson } from "../tokenizer-json.ts";

/** Refuses a part that cannot be run as Hugging Face's reference implementation runs it. */
export function refuseComponent(part: string, component: ComponentJson, reason: string): never {
  throw new TextError(
    "text.tokenizer.component",
    `${part} ${JSON.stringify(component.type)}: ${reason}`,
  );
}

/** The parts of a `Sequence`. */
export function partsOf(
  part: string,
  component: ComponentJson,
  field: string,
): readonly ComponentJson[] {
  const parts: unknown = component[field];
  if (!Array.isArray(parts)) refuseComponent(part, component, `"${field}" must be an array`);
  return (parts as readonly unknown[]).map((value) => {
    if (typeof value === "object" && value !== null && "type" in value) {
      return value as ComponentJson;
    }
    return refuseComponent(part, component, `"${field}" must hold objects with a type`);
  });
}

export function textField(
  part: string,
  component: ComponentJson,
  field: string,
  fallback?: string,
): string {
  const value = component[field] ?? fallback;
  if (typeof value === "string") return value;
  return refuseComponent(part, component, `"${field}" must be a text`);
}

export function flagField(
  part: string,
  component: ComponentJson,
  field: string,
  fallback: boolean,
): boolean {
  const value = component[field] ?? fallback;
  if (typeof value === "boolean") return value;
  return refuseComponent(part, component, `"${field}" must be true or false`);
}

export function countField(
  part: string,
  component: ComponentJson,
  field: string,
  fallback: number,
): number {
  const value = component[field] ?? fallback;
  if (typeof value === "number" && Number.isInteger(value) && value >= 0) return value;
  return refuseComponent(part, component, `"${field}" must be a whole number`);
}

/** A field that holds exactly one character. */
export function characterField(
  part: string,
  component: ComponentJson,
  field: string,
  fallback?: string,
): string {
  const value = textField(part, component, field, fallback);
  if (Array.from(value).length === 1) return value;
  return refuseComponent(part, component, `"${field}" must be one character`);
}
