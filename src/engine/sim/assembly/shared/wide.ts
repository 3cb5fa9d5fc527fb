// Products of any numbers.
import { put } from "./sums";

/**
 * Any operands: products in doubles, sums in two parts of 64 bits. What is not a number counts as 0; an infinite
 * product makes the sum infinite, two of opposite sign make it NaN.
 */
export function wide(a: usize, b: usize, depth: u32, out: usize, step: usize, truncate: bool): void {
  for (let row: usize = 0; row < 4; row++) {
    for (let column: usize = 0; column < 8; column++) {
      let high: i64 = 0;
      let low: i64 = 0;
      let infinite: f64 = 0;
      let x = a + (row << 2);
      let y = b + (column << 2);
      for (let k: u32 = 0; k < depth; k++) {
        const p = <f64>load<f32>(x) * <f64>load<f32>(y);
        if (abs(p) < Infinity) {
          const q = <i64>nearest<f64>(p);
          if (q > 1 || q < -1) {
            high += q >> 32;
            low += q & 0xffffffff;
          }
        } else if (p == p) infinite += p;
        x += 16;
        y += 64;
      }
      const at = out + row * step + (column << 2);
      high += low >> 32;
      if (infinite != 0) store<f32>(at, infinite == infinite ? <f32>infinite : NaN);
      else if (high >= <i64>1 << 31 || high < -(<i64>1 << 31))
        store<f32>(at, high < 0 ? -Infinity : Infinity);
      else put((high << 32) | (low & 0xffffffff), at, truncate);
    }
  }
}

