import type { Operand } from "../../mil/program.ts";
import { isFloat } from "../../mil/types.ts";
import { elementTypeName, milTypeOf } from "../type-codes.ts";
import { heldAs, isHeldWider } from "./small-types.ts";
import type { RoundingOptions } from "./small-types.ts";
import type { Import, ImportSite } from "./site.ts";

const BOOL = 9;

/** A cast to the element type of an ONNX code. */
export function castTo(
  site: ImportSite,
  x: Operand,
  code: number,
  from: number | undefined,
  options: RoundingOptions = {},
): Operand {
  const to = milTypeOf(code, `the result of ${site.node.opType}`);
  if (code === BOOL) {
    return site.typeOf(x) === "bool" ? x : site.binary("not_equal", site.widened(x), 0);
  }
  // Numbers of the type already need no rounding.
  if (isHeldWider(code) && from !== code) return heldAs(site, x, code, options);
  const type = site.typeOf(x);
  // Floats beyond a small integer's range wrap around as C does it: through int32.
  const isNarrow = !isFloat(to) && to !== "int32";
  return isFloat(type) && isNarrow ? site.cast(site.cast(x, "int32"), to) : site.cast(x, to);
}

const optionsOf = (site: ImportSite): RoundingOptions => ({
  saturates: site.flag("saturate", true),
  mode: site.text("round_mode", "up"),
});

const cast: Import = (site) => {
  const code = site.int("to", 1);
  site.noteResultType(0, code);
  return castTo(site, site.input(0), code, site.elementCode(0), optionsOf(site));
};

const castLike: Import = (site) => {
  const code = site.elementCode(1);
  if (code === undefined) return site.cast(site.input(0), site.type(1));
  site.noteResultType(0, code);
  return castTo(site, site.input(0), code, site.elementCode(0), optionsOf(site));
};

/** Integers and bools of one width: the same bits read with or without a sign. */
const bitCast: Import = (site) => {
  const to = site.int("to", 1);
  const from = site.elementCode(0);
  site.noteResultType(0, to);
  const group = (code: number | undefined): number =>
    GROUPS.findIndex((codes) => code !== undefined && codes.includes(code));
  // An unsigned number that stands in int32 has no sign bit.
  if (from === to || (from === 12 && to === 6)) return site.input(0);
  if (group(to) === -1 || group(from) !== group(to) || isFloat(site.type(0))) {
    const source = from === undefined ? site.type(0) : elementTypeName(from);
    throw site.fail(`MIL has no way to read the bits of ${source} as ${elementTypeName(to)}`);
  }
  return castTo(site, site.cast(site.input(0), "int32"), to, undefined);
};

/** Integers of 8, 16 and 32 bits, by ONNX's codes. */
const GROUPS: readonly (readonly number[])[] = [[2, 3, 9], [4, 5], [6]];

export const IMPORT_CASTS = {
  Cast: cast,
  CastLike: castLike,
  BitCast: bitCast,
} as const satisfies Record<string, Import>;
