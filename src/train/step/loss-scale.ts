/** What trainer_state.json keeps of a loss scale. */
export interface LossScaleState {
  readonly scale: number;
  /** Updates since the scale last changed. */
  readonly stepCount: number;
}

/** Updates without an overflow after which the scale is doubled. */
const GROWTH_INTERVAL = 200;
const INITIAL = 2 ** 16;
const SMALLEST = 2 ** -8;
const LARGEST = 2 ** 24;
/** The derivative starts from scale / tokens, which must be far from the end of fp16. */
const LARGEST_SEED = 2 ** 14;

/**
 * The number that the loss is multiplied with before its derivative is taken, so that gradients are neither lost
 * in the engine's grid nor infinite. Powers of two: fp32 engines give the same bits with any. A dynamic scale is
 * halved when a gradient overflows and doubled after `GROWTH_INTERVAL` updates without that.
 */
export class LossScale {
  readonly isDynamic: boolean;
  #scale: number;
  #stepCount: number;

  private constructor(isDynamic: boolean, scale: number, stepCount: number) {
    this.isDynamic = isDynamic;
    this.#scale = scale;
    this.#stepCount = stepCount;
  }

  /** For engines that compute in fp16. `state` goes on from a checkpoint. */
  static dynamic(state?: LossScaleState): LossScale {
    return new LossScale(true, state?.scale ?? INITIAL, state?.stepCount ?? 0);
  }

  static fixed(scale: number): LossScale {
    return new LossScale(false, scale, 0);
  }

  get scale(): number {
    return this.#scale;
  }

  /** The scale of a batch whose loss is the mean over `tokenCount` tokens: smaller where they are few. */
  scaleFor(tokenCount: number): number {
    if (!this.isDynamic) return this.#scale;
    const limit = LARGEST_SEED * 2 ** Math.floor(Math.log2(Math.max(1, tokenCount)));
    return Math.min(this.#scale, limit);
  }

  get state(): LossScaleState {
    return { scale: this.#scale, stepCount: this.#stepCount };
  }

  /** Halves the scale after an overflow; false where that is not possible. */
  backOff(): boolean {
    if (!this.isDynamic || this.#scale <= SMALLEST) return false;
    this.#scale /= 2;
    this.#stepCount = 0;
    return true;
  }

  /** After an update: doubles the scale when there has been no overflow for long. */
  succeed(): void {
    if (!this.isDynamic) return;
    this.#stepCount++;
    if (this.#stepCount < GROWTH_INTERVAL) return;
    this.#stepCount = 0;
    this.#scale = Math.min(LARGEST, this.#scale * 2);
  }
}
