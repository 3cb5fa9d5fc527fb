/**
 * Minimum cut between a source and a sink in a directed network (Dinic's algorithm). Capacities may be
 * Infinity, as long as no path of only such edges leads to the sink.
 */
export class FlowNetwork {
  readonly source = 0;
  readonly sink = 1;
  #nodes = 2;
  /** Edges stand in pairs: edge `i ^ 1` is the way back of edge `i`. */
  readonly #targets: number[] = [];
  readonly #capacities: number[] = [];
  readonly #edges: number[][] = [[], []];

  node(): number {
    this.#edges.push([]);
    return this.#nodes++;
  }

  edge(from: number, to: number, capacity: number): void {
    this.#edges[from]?.push(this.#targets.length);
    this.#targets.push(to);
    this.#capacities.push(capacity);
    this.#edges[to]?.push(this.#targets.length);
    this.#targets.push(from);
    this.#capacities.push(0);
  }

  /** The nodes on the source's side of a minimum cut, the smallest such set. Uses the network up. */
  sourceSide(): ReadonlySet<number> {
    for (;;) {
      const levels = this.#levels();
      if (levels[this.sink] === undefined) {
        const side = new Set<number>();
        levels.forEach((_, node) => side.add(node));
        return side;
      }
      this.#blockingFlow(levels);
    }
  }

  /** Distance from the source over edges with room; a hole for a node that is not reached. */
  #levels(): readonly (number | undefined)[] {
    const levels: number[] = [];
    levels[this.source] = 0;
    const queue = [this.source];
    for (let head = 0; head < queue.length; head++) {
      const node = queue[head] ?? 0;
      for (const edge of this.#edges[node] ?? []) {
        const target = this.#targets[edge] ?? 0;
        if ((this.#capacities[edge] ?? 0) > 0 && levels[target] === undefined) {
          levels[target] = (levels[node] ?? 0) + 1;
          queue.push(target);
        }
      }
    }
    return levels;
  }

  #blockingFlow(levels: readonly (number | undefined)[]): void {
    const next = this.#edges.map(() => 0);
    const path: number[] = [];
    let node = this.source;
    for (;;) {
      if (node === this.sink) {
        const room = Math.min(...path.map((edge) => this.#capacities[edge] ?? 0));
        if (room === Infinity) throw new RangeError("the network has no finite cut");
        let saturated = path.length;
        path.forEach((edge, index) => {
          this.#capacities[edge] = (this.#capacities[edge] ?? 0) - room;
          this.#capacities[edge ^ 1] = (this.#capacities[edge ^ 1] ?? 0) + room;
          if (this.#capacities[edge] === 0) saturated = Math.min(saturated, index);
        });
        node = this.#targets[(path[saturated] ?? 0) ^ 1] ?? this.source;
        path.length = saturated;
        continue;
      }
      const edge = this.#edges[node]?.[next[node] ?? 0];
      if (edge === undefined) {
        const back = path.pop();
        if (back === undefined) return;
        node = this.#targets[back ^ 1] ?? this.source;
        next[node] = (next[node] ?? 0) + 1;
        continue;
      }
      const target = this.#targets[edge] ?? 0;
      if ((this.#capacities[edge] ?? 0) > 0 && levels[target] === (levels[node] ?? 0) + 1) {
        path.push(edge);
        node = target;
      } else {
        next[node] = (next[node] ?? 0) + 1;
      }
    }
  }
}
