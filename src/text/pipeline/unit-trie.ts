interface Node {
  readonly children: Map<number, Node>;
  value: number;
}

function node(): Node {
  return { children: new Map(), value: -1 };
}

/** Texts by their beginnings, one UTF-16 unit a step. */
export class UnitTrie {
  readonly #root = node();
  #longest = 0;

  /** Length of the longest text. */
  get longest(): number {
    return this.#longest;
  }

  add(text: string, value: number): void {
    let at = this.#root;
    for (let index = 0; index < text.length; index++) {
      const unit = text.charCodeAt(index);
      let child = at.children.get(unit);
      if (child === undefined) at.children.set(unit, (child = node()));
      at = child;
    }
    at.value = value;
    this.#longest = Math.max(this.#longest, text.length);
  }

  canBegin(unit: number): boolean {
    return this.#root.children.has(unit);
  }

  /** Tells of every text that stands at `start`, the shortest first. */
  each(text: string, start: number, tell: (end: number, value: number) => void): void {
    let at = this.#root;
    for (let index = start; index < text.length; index++) {
      const child = at.children.get(text.charCodeAt(index));
      if (child === undefined) return;
      at = child;
      if (at.value >= 0) tell(index + 1, at.value);
    }
  }

  /** The longest text that stands at `start`. */
  longestAt(
    text: string,
    start: number,
  ): { readonly end: number; readonly value: number } | undefined {
    let found: { readonly end: number; readonly value: number } | undefined;
    this.each(text, start, (end, value) => (found = { end, value }));
    return found;
  }
}
