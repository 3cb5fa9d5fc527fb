/** How a figure came to be: read off silicon, said by somebody, or worked out from other figures. */
export type FigureKind = "measured" | "claimed" | "inferred";

/** One number about a chip, never without its unit and where it comes from. */
export interface Figure {
  readonly value: number;
  readonly unit: string;
  readonly kind: FigureKind;
  readonly source: string;
}

export function measured(value: number, unit: string, source: string): Figure {
  return { value, unit, kind: "measured", source };
}

export function claimed(value: number, unit: string, source: string): Figure {
  return { value, unit, kind: "claimed", source };
}

export function inferred(value: number, unit: string, source: string): Figure {
  return { value, unit, kind: "inferred", source };
}

/** `18.6 TFLOP/s (measured: maderix int8 bench)` */
export function formatFigure(figure: Figure): string {
  return `${formatNumber(figure.value)} ${figure.unit} (${figure.kind}: ${figure.source})`;
}

/** At most four significant digits, without trailing zeros. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
  return String(Number(value.toPrecision(4)));
}
