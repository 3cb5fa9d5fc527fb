"""What this machine can do: products of fp32 matrices by numpy's BLAS, and memory read and copied. One JSON line."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy

threads = int(sys.argv[1])


def best(run, rounds=5):
    run()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


products = {}
for size in (384, 1024, 2048):
    a = numpy.random.rand(size, size).astype(numpy.float32)
    b = numpy.random.rand(size, size).astype(numpy.float32)
    products[size] = 2 * size**3 / best(lambda: a @ b) / 1e9

# Sums read and write nothing else; numpy lets go of its lock meanwhile.
parts = [numpy.ones(1 << 25, dtype=numpy.float32) for _ in range(threads)]
with ThreadPoolExecutor(threads) as pool:
    read = best(lambda: list(pool.map(lambda part: part.sum(), parts)))
print(
    json.dumps(
        {
            "sgemm_gflops": products,
            "memory_read_gb_s": sum(part.nbytes for part in parts) / read / 1e9,
        }
    )
)
