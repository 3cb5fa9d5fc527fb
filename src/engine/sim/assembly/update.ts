// What the host does beside the engine, in doubles over fp32 buffers.

/**
 * AdamW on elements [begin, end). `settings`: ten doubles: gradient scale, beta1, 1 - beta1, beta2, 1 - beta2,
 * the reciprocals of both bias corrections, epsilon, what is kept of a weight, learning rate.
 */
export function adamw(
  weight: usize,
  gradient: usize,
  m: usize,
  v: usize,
  newWeight: usize,
  newM: usize,
  newV: usize,
  settings: usize,
  begin: u32,
  end: u32,
): void {
  const scale = v128.load_splat<f64>(settings);
  const beta1 = v128.load_splat<f64>(settings, 8);
  const rest1 = v128.load_splat<f64>(settings, 16);
  const beta2 = v128.load_splat<f64>(settings, 24);
  const rest2 = v128.load_splat<f64>(settings, 32);
  const inverse1 = v128.load_splat<f64>(settings, 40);
  const inverse2 = v128.load_splat<f64>(settings, 48);
  const epsilon = v128.load_splat<f64>(settings, 56);
  const kept = v128.load_splat<f64>(settings, 64);
  const rate = v128.load_splat<f64>(settings, 72);
  for (let at: usize = <usize>begin << 2, last: usize = <usize>end << 2; at < last; ) {
    // Two at a time; the last of an odd count alone, which lane 0 computes.
    const isPair = at + 8 <= last;
    const g = f64x2.mul(two(gradient + at, isPair), scale);
    const first = f64x2.add(f64x2.mul(two(m + at, isPair), beta1), f64x2.mul(g, rest1));
    const second = f64x2.add(
      f64x2.mul(two(v + at, isPair), beta2),
      f64x2.mul(f64x2.mul(g, g), rest2),
    );
    const root = f64x2.add(f64x2.sqrt(f64x2.mul(second, inverse2)), epsilon);
    const direction = f64x2.div(f64x2.mul(first, inverse1), root);
    const next = f64x2.sub(
      f64x2.mul(two(weight + at, isPair), kept),
      f64x2.mul(direction, rate),
    );
    put(newWeight + at, next, isPair);
    put(newM + at, first, isPair);
    put(newV + at, second, isPair);
    at += isPair ? 8 : 4;
  }
}

@inline
function two(at: usize, isPair: bool): v128 {
  return f64x2.promote_low_f32x4(isPair ? v128.load_zero<f64>(at) : v128.load_zero<f32>(at));
}

@inline
function put(at: usize, value: v128, isPair: bool): void {
  const single = f32x4.demote_f64x2_zero(value);
  if (isPair) v128.store_lane<f64>(at, single, 0);
  else v128.store_lane<f32>(at, single, 0);
}

/** The sum of squares of `count` fp32 numbers, one after the other, as a double. */
export function squareSum(from: usize, count: u32, out: usize): void {
  let sum: f64 = 0;
  for (const last = from + (<usize>count << 2); from < last; from += 4) {
    const value = <f64>load<f32>(from);
    sum += value * value;
  }
  store<f64>(out, sum);
}
