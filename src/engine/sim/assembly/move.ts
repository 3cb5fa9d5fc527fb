// Transposes, slices, splits and concatenations.

/** Copies n0 x n1 x n2 x n3 numbers of 4 bytes; strides are in numbers. */
export function move(
  from: usize,
  to: usize,
  n0: u32,
  n1: u32,
  n2: u32,
  n3: u32,
  from0: u32,
  from1: u32,
  from2: u32,
  from3: u32,
  to0: u32,
  to1: u32,
  to2: u32,
  to3: u32,
): void {
  const isRun = from3 == 1 && to3 == 1;
  for (let i: u32 = 0; i < n0; i++) {
    for (let j: u32 = 0; j < n1; j++) {
      let source = from + (<usize>(i * from0 + j * from1) << 2);
      let target = to + (<usize>(i * to0 + j * to1) << 2);
      for (let k: u32 = 0; k < n2; k++) {
        if (isRun) run(source, target, n3);
        else strided(source, target, n3, <usize>from3 << 2, <usize>to3 << 2);
        source += <usize>from2 << 2;
        target += <usize>to2 << 2;
      }
    }
  }
}

@inline
function run(source: usize, target: usize, count: u32): void {
  if (count > 64) {
    memory.copy(target, source, <usize>count << 2);
    return;
  }
  const end = target + (<usize>count << 2);
  for (; target + 16 <= end; target += 16, source += 16) v128.store(target, v128.load(source));
  for (; target < end; target += 4, source += 4) store<u32>(target, load<u32>(source));
}

@inline
function strided(source: usize, target: usize, count: u32, sourceStep: usize, targetStep: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    store<u32>(target, load<u32>(source));
    source += sourceStep;
    target += targetStep;
  }
}
