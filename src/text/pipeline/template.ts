import type { ComponentJson } from "../tokenizer-json.ts";
import type { Template } from "../tokenizer.ts";
import { partsOf, refuseComponent } from "./component.ts";

export const NO_TEMPLATE: Template = { before: [], after: [] };

const PART = "post_processor";

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function specialIds(component: ComponentJson, name: unknown): readonly number[] {
  const entry = record(record(component["special_tokens"])[String(name)]);
  const { ids } = entry;
  if (Array.isArray(ids) && ids.every((id) => Number.isInteger(id) && id >= 0)) {
    return ids as readonly number[];
  }
  return refuseComponent(PART, component, `it has no ids for ${JSON.stringify(name)}`);
}

function templateProcessing(component: ComponentJson): Template {
  const { single } = component;
  if (!Array.isArray(single)) {
    return refuseComponent(PART, component, '"single" must be an array of its parts');
  }
  const before: number[] = [];
  const after: number[] = [];
  let isTextSeen = false;
  for (const part of single as readonly unknown[]) {
    const { SpecialToken: special, Sequence: sequence } = record(part);
    if (special !== undefined) {
      (isTextSeen ? after : before).push(...specialIds(component, record(special)["id"]));
    } else if (record(sequence)["id"] === "A" && !isTextSeen) isTextSeen = true;
    else return refuseComponent(PART, component, '"single" must hold the text A exactly once');
  }
  if (!isTextSeen) {
    return refuseComponent(PART, component, '"single" must hold the text A exactly once');
  }
  return { before, after };
}

/** The id of `["[CLS]", 101]`. */
function pairId(component: ComponentJson, field: string): number {
  const value = component[field];
  const id: unknown = Array.isArray(value) ? value[1] : undefined;
  if (typeof id === "number" && Number.isInteger(id) && id >= 0) return id;
  return refuseComponent(PART, component, `"${field}" must be a token and its id`);
}

/** What a post-processor puts around one text. Throws `TextError` for one of another type. */
export function compileTemplate(component: ComponentJson | null): Template {
  if (component === null) return NO_TEMPLATE;
  switch (component.type) {
    case "ByteLevel":
      return NO_TEMPLATE;
    case "TemplateProcessing":
      return templateProcessing(component);
    case "BertProcessing":
    case "RobertaProcessing":
      return { before: [pairId(component, "cls")], after: [pairId(component, "sep")] };
    case "Sequence":
      return partsOf(PART, component, "processors")
        .map(compileTemplate)
        .reduce(
          (inner, outer) => ({
            before: [...outer.before, ...inner.before],
            after: [...inner.after, ...outer.after],
          }),
          NO_TEMPLATE,
        );
    default:
      return refuseComponent(PART, component, "there is no post-processor of this type");
  }
}
