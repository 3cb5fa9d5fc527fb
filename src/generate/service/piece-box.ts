/** Pieces of texts on their way from the thread that writes them, a message for several. */
export interface PieceBoxOptions<Piece> {
  /** A piece waits so long for others, in milliseconds; 0 sends what comes in one turn at once. */
  readonly intervalMs: number;
  /** Takes one or more pieces, in the order in which they came. */
  readonly send: (pieces: readonly Piece[]) => void;
}

/** When a piece leaves: at once, soon with others that come, or with the next that leaves. */
export type Leaving = "now" | "soon" | "later";

/**
 * Collects pieces: a message wakes the thread that hears it and the clients behind it, which small models' tokens, a
 * millisecond or two apart, would do hundreds of times a second for texts that nobody reads so fast.
 */
export class PieceBox<Piece> {
  readonly #options: PieceBoxOptions<Piece>;
  #pieces: Piece[] = [];
  #sentMs = -Infinity;
  #isDue = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: PieceBoxOptions<Piece>) {
    this.#options = options;
  }

  add(piece: Piece, leaving: Leaving): void {
    const { intervalMs } = this.#options;
    this.#pieces.push(piece);
    if (this.#isDue || leaving === "later") return;
    if (leaving === "now" || performance.now() - this.#sentMs >= intervalMs) {
      this.#isDue = true;
      // Pieces of one step come in one turn.
      queueMicrotask(() => this.flush());
      return;
    }
    // Where writing goes on, the next piece finds that it is time before the timer does.
    this.#timer ??= setTimeout(() => this.flush(), intervalMs);
  }

  /** Sends what is there. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isDue = false;
    if (this.#pieces.length === 0) return;
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#sentMs = performance.now();
    this.#options.send(pieces);
  }
}
