/** Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours. */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, substitution);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(best);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? a.length;
}

/** The known name closest to a misspelt one, when it is close enough to be what was meant. */
export function nearestName(name: string, names: Iterable<string>): string | undefined {
  const known = [...names];
  const wanted = name.slice(0, 64).toLowerCase();
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(wanted, candidate.slice(0, 64).toLowerCase());
    if (distance < bestDistance) {
      bestDistance = distance;
      best = candidate;
    }
  }
  return best ?? nearestBeginning(wanted, known);
}

/** Fewer letters say too little of what was meant. */
const SHORTEST_BEGINNING = 5;

/** A known name of which a misspelt beginning was written, as "nanogtp" of "nanogpt-char". */
function nearestBeginning(wanted: string, known: Iterable<string>): string | undefined {
  if (wanted.length < SHORTEST_BEGINNING) return undefined;
  for (const candidate of known) {
    const beginning = candidate.slice(0, wanted.length).toLowerCase();
    if (editDistance(wanted, beginning) <= 2) return candidate;
  }
  return undefined;
}

/** ` Did you mean "x"?`, or nothing. */
export function didYouMean(name: string, known: Iterable<string>): string {
  const nearest = nearestName(name, known);
  return nearest === undefined ? "" : ` Did you mean "${nearest}"?`;
}
