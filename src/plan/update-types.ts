import type { DataType } from "../mil/types.ts";
import { byteLengthOf } from "../mil/types.ts";
import { formatBytes } from "../util/format.ts";
import type { MomentType, Plan } from "./plan.ts";

/** In which types what AdamW reads and writes stands. */
export interface UpdateTypes {
  readonly moments: MomentType;
  /** Bytes of gradients by type, fp16 first. */
  readonly gradientBytes: readonly (readonly [DataType, number])[];
}

/** Nothing for plans without AdamW. */
export function updateTypesOf(plan: Plan): UpdateTypes | undefined {
  for (const { hostKernel } of plan.programs.values()) {
    if (hostKernel?.kind !== "adamw") continue;
    const bytes = new Map<DataType, number>();
    for (const { role, type } of plan.buffers.values())
      if (role === "gradient")
        bytes.set(type.dataType, (bytes.get(type.dataType) ?? 0) + byteLengthOf(type));
    const gradientBytes = [...bytes].sort(([a], [b]) => a.localeCompare(b));
    return { moments: hostKernel.momentType, gradientBytes };
  }
  return undefined;
}

/** `moments bf16; gradients fp16 162 MiB, fp32 93.8 MiB`. */
export function formatUpdateTypes({ moments, gradientBytes }: UpdateTypes): string {
  const gradients = gradientBytes.map(([type, bytes]) => `${type} ${formatBytes(bytes)}`);
  return `moments ${moments}; gradients ${gradients.join(", ")}`;
}

/** `{"moments": "bf16", "gradient_bytes": {"fp16": …, "fp32": …}}`. */
export function updateTypesJson({ moments, gradientBytes }: UpdateTypes): object {
  return { moments, gradient_bytes: Object.fromEntries(gradientBytes) };
}
