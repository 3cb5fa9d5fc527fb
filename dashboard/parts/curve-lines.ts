import { smoothed } from "../../src/util/plot/down-sample.ts";
import { curveColour } from "../theme.ts";
import type { Line } from "./chart.tsx";

/** A curve as it is wanted. */
export interface DrawnCurve {
  readonly label: string;
  /** Place of its colour. */
  readonly place: number;
  readonly x: Line["x"];
  readonly y: readonly (number | null)[];
  /** Weight of what came before, from 0 on. */
  readonly smoothing: number;
  /** What was told itself behind the smoothed curve; among many curves it only hides them. */
  readonly showsTold?: boolean;
  /** Fewer points than this are marked. */
  readonly marksBelow?: number;
}

/** Lines of a chart for one curve: as it was told, or smoothed with that behind it. */
export function curveLines(curve: DrawnCurve): readonly Line[] {
  const { label, place, x, y, smoothing, showsTold = true, marksBelow = 0 } = curve;
  if (x.length === 0) return [];
  const line = { label, colour: curveColour(place), x };
  if (smoothing === 0) return [{ ...line, y, hasMarks: x.length < marksBelow }];
  const smooth = { ...line, y: smoothed(y, smoothing) };
  return showsTold ? [{ ...line, y, isFaint: true }, smooth] : [smooth];
}
