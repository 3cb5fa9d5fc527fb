import type { UnknownField } from "@bufbuild/protobuf";

/**
 * What a file says about a part of a program beyond what the program can express. It is kept beside the part and
 * written back with it, so that reading and writing a file loses nothing.
 */
export interface Carried {
  readonly unknown?: readonly UnknownField[] | undefined;
  /** Any further messages, by the name of their field. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

const carried = new WeakMap<object, Carried>();

export function carry(part: object, extra: Carried): void {
  const isEmpty =
    (extra.unknown === undefined || extra.unknown.length === 0) &&
    Object.keys(extra.fields ?? {}).length === 0;
  if (!isEmpty) carried.set(part, extra);
}

export function carriedBy(part: object): Carried | undefined {
  return carried.get(part);
}

/** Gives a part that replaces another what the other carried. */
export function carryOver(from: object, to: object): void {
  const extra = carried.get(from);
  if (extra !== undefined && from !== to) carried.set(to, extra);
}
