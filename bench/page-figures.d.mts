import type { Browser } from "playwright-core";

export function writeLongRuns(
  root: string,
  options: {
    readonly runCount: number;
    readonly pointCount: number;
    readonly distinctCount?: number;
  },
): void;

export interface PageFigures {
  readonly tableMs: number;
  readonly openMs: number;
  readonly openProcessorMs: number;
  readonly isZoomed: boolean;
  readonly zoomMs: number;
  readonly taskCount: number;
  readonly longestTaskMs: number;
  readonly longestTaskProcessorMs: number;
  readonly heapBytes: number;
}

export function measurePage(
  browser: Browser,
  address: string,
  options: { readonly runCount: number; readonly settleMs: number; readonly watchMs: number },
): Promise<PageFigures>;
