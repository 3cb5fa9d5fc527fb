const LEVELS = "▁▂▃▄▅▆▇█";

/**
 * Numbers as a row of blocks, lowest to highest, at most `columns` of them; each stands for the mean of its part of the
 * numbers. What is no number is a gap; nothing for no numbers at all.
 */
export function sparkline(values: readonly number[], columns: number): string {
  const means = averaged(values, Math.max(1, columns));
  const finite = means.filter((value) => Number.isFinite(value));
  if (finite.length === 0) return "";
  const low = Math.min(...finite);
  const range = Math.max(...finite) - low;
  return means
    .map((value) => {
      if (!Number.isFinite(value)) return " ";
      const level = range === 0 ? 0 : Math.round(((value - low) / range) * (LEVELS.length - 1));
      return LEVELS[level] ?? " ";
    })
    .join("");
}

/** At most `count` numbers: means over equal parts. */
function averaged(values: readonly number[], count: number): readonly number[] {
  if (values.length <= count) return values;
  return Array.from({ length: count }, (_, index) => {
    const start = Math.floor((index * values.length) / count);
    const end = Math.floor(((index + 1) * values.length) / count);
    const part = values.slice(start, end).filter((value) => Number.isFinite(value));
    return part.length === 0 ? NaN : part.reduce((sum, value) => sum + value, 0) / part.length;
  });
}
