// Normal numbers by Marsaglia's polar method from xoshiro128**, the same bits as `Random` and `Math.log` give in
// JavaScript: the logarithm is FreeBSD's e_log.c (fdlibm), as V8 has it, two at a time. Every address is in bytes, and
// nothing is kept between calls but the generator's four words.

const LN2_HIGH: f64 = 6.93147180369123816490e-1;
const LN2_LOW: f64 = 1.90821492927058770002e-10;
const LG1: f64 = 6.666666666666735130e-1;
const LG2: f64 = 3.999999999940941908e-1;
const LG3: f64 = 2.857142874366239149e-1;
const LG4: f64 = 2.222219843214978396e-1;
const LG5: f64 = 1.818357216161805012e-1;
const LG6: f64 = 1.531383769920937332e-1;
const LG7: f64 = 1.479819860511658591e-1;

/**
 * Draws `count` points of the unit disc and goes on with the generator at `state`: x and y in pairs at `points`, the
 * squares of their distances from the middle at `squares`, all f64.
 */
export function drawPoints(state: usize, points: usize, squares: usize, count: u32): void {
  let a = load<u32>(state);
  let b = load<u32>(state, 4);
  let c = load<u32>(state, 8);
  let d = load<u32>(state, 12);
  const end = squares + ((<usize>count) << 3);
  while (squares < end) {
    let shifted = b << 9;
    const first = rotl<u32>(b * 5, 7) * 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotl<u32>(d, 11);
    shifted = b << 9;
    const second = rotl<u32>(b * 5, 7) * 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotl<u32>(d, 11);
    const x = <f64>first * (1.0 / 2147483648.0) - 1.0;
    const y = <f64>second * (1.0 / 2147483648.0) - 1.0;
    const square = x * x + y * y;
    // A point outside is written over by the next one.
    store<f64>(points, x);
    store<f64>(points, y, 8);
    store<f64>(squares, square);
    const isInside: usize = select<usize>(1, 0, (square < 1.0) & (square != 0.0));
    points += isInside << 4;
    squares += isInside << 3;
  }
  store<u32>(state, a);
  store<u32>(state, b, 4);
  store<u32>(state, c, 8);
  store<u32>(state, d, 12);
}

/** The same as `logarithms` for one number. */
function logarithm(number: f64): f64 {
  const bits = reinterpret<i64>(number);
  let high = <i32>(bits >> 32);
  let exponent = (high >> 20) - 1023;
  high &= 0xfffff;
  const up = (high + 0x95f64) & 0x100000;
  const x = reinterpret<f64>((<i64>(high | (up ^ 0x3ff00000)) << 32) | (bits & 0xffffffff));
  exponent += up >> 20;
  const f = x - 1.0;
  const k = <f64>exponent;
  if ((0xfffff & (2 + high)) < 3) {
    if (f == 0.0) return k * LN2_HIGH + k * LN2_LOW;
    const rest = f * f * (0.5 - 0.33333333333333333 * f);
    return k * LN2_HIGH - (rest - k * LN2_LOW - f);
  }
  const s = f / (2.0 + f);
  const z = s * s;
  const w = z * z;
  const even = w * (LG2 + w * (LG4 + w * LG6));
  const odd = z * (LG1 + w * (LG3 + w * (LG5 + w * LG7)));
  const r = odd + even;
  if (high >= 0x6147a && high <= 0x6b851) {
    const half = 0.5 * f * f;
    return k * LN2_HIGH - (half - (s * (half + r) + k * LN2_LOW) - f);
  }
  return k * LN2_HIGH - (s * (f - r) - k * LN2_LOW - f);
}

/** Natural logarithms of two numbers above 0, normal ones. */
function logarithms(numbers: v128): v128 {
  const highs = i64x2.shr_u(numbers, 32);
  const mantissas = v128.and(highs, i64x2.splat(0xfffff));
  const ups = v128.and(
    i64x2.add(mantissas, i64x2.splat(0x95f64)),
    i64x2.splat(0x100000),
  );
  const isNearOne = v128.and(i64x2.add(mantissas, i64x2.splat(2)), i64x2.splat(0xfffff));
  // Rare: the mantissa is next to a power of two, where the series is another one.
  if (
    i64x2.extract_lane(isNearOne, 0) < 3 ||
    i64x2.extract_lane(isNearOne, 1) < 3
  ) {
    return f64x2.replace_lane(
      f64x2.splat(logarithm(f64x2.extract_lane(numbers, 0))),
      1,
      logarithm(f64x2.extract_lane(numbers, 1)),
    );
  }
  const x = v128.or(
    i64x2.shl(v128.or(mantissas, v128.xor(ups, i64x2.splat(0x3ff00000))), 32),
    v128.and(numbers, i64x2.splat(0xffffffff)),
  );
  // The exponent, above 0 by a bias, in the last digits of 2^52, which are then taken away as a number.
  const exponents = i64x2.add(i64x2.shr_u(highs, 20), i64x2.shr_u(ups, 20));
  const k = f64x2.sub(
    v128.or(exponents, i64x2.splat(0x4330000000000000)),
    f64x2.splat(4503599627370496.0 + 1023.0),
  );
  const f = f64x2.sub(x, f64x2.splat(1.0));
  const s = f64x2.div(f, f64x2.add(f64x2.splat(2.0), f));
  const z = f64x2.mul(s, s);
  const w = f64x2.mul(z, z);
  const even = f64x2.mul(
    w,
    f64x2.add(
      f64x2.splat(LG2),
      f64x2.mul(w, f64x2.add(f64x2.splat(LG4), f64x2.mul(w, f64x2.splat(LG6)))),
    ),
  );
  const inner = f64x2.add(f64x2.splat(LG5), f64x2.mul(w, f64x2.splat(LG7)));
  const odd = f64x2.mul(
    z,
    f64x2.add(
      f64x2.splat(LG1),
      f64x2.mul(w, f64x2.add(f64x2.splat(LG3), f64x2.mul(w, inner))),
    ),
  );
  const r = f64x2.add(odd, even);
  const low = f64x2.mul(k, f64x2.splat(LN2_LOW));
  const high = f64x2.mul(k, f64x2.splat(LN2_HIGH));
  const half = f64x2.mul(f64x2.mul(f64x2.splat(0.5), f), f);
  const middle = f64x2.sub(
    high,
    f64x2.sub(f64x2.sub(half, f64x2.add(f64x2.mul(s, f64x2.add(half, r)), low)), f),
  );
  const outer = f64x2.sub(
    high,
    f64x2.sub(f64x2.sub(f64x2.mul(s, f64x2.sub(f, r)), low), f),
  );
  const isMiddle = v128.andnot(
    i64x2.gt_s(mantissas, i64x2.splat(0x6147a - 1)),
    i64x2.gt_s(mantissas, i64x2.splat(0x6b851)),
  );
  return v128.bitselect(middle, outer, isMiddle);
}

/**
 * Two normal numbers of each point, fp32 at `target`, with a standard deviation. `count` points, an even number of
 * them; `points` and `squares` are what `drawPoints` wrote.
 */
export function normalNumbers(
  points: usize,
  squares: usize,
  target: usize,
  count: u32,
  standardDeviation: f64,
): void {
  const deviations = f64x2.splat(standardDeviation);
  const end = squares + ((<usize>count) << 3);
  while (squares < end) {
    const square = v128.load(squares);
    const quotients = f64x2.div(f64x2.mul(f64x2.splat(-2.0), logarithms(square)), square);
    const scales = f64x2.mul(deviations, f64x2.sqrt(quotients));
    const first = f64x2.mul(v128.load(points), f64x2.splat(f64x2.extract_lane(scales, 0)));
    const second = f64x2.mul(v128.load(points, 16), f64x2.splat(f64x2.extract_lane(scales, 1)));
    v128.store(
      target,
      v128.shuffle<f32>(f32x4.demote_f64x2_zero(first), f32x4.demote_f64x2_zero(second), 0, 1, 4, 5),
    );
    squares += 16;
    points += 32;
    target += 16;
  }
}
