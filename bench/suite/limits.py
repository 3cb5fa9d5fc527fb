"""What this machine can do: products of fp32 matrices by numpy's BLAS, and memory read.

  limits.py THREADS            all sizes and memory, one JSON line
  limits.py THREADS --turns    one product of 1024 for every line of standard input, as a contender that takes turns

Each product is repeated until it can be timed, and the best of several rounds counts: one round beside a busy neighbour
shows a part of the machine. Processor time tells the rate even where the cores are shared, so both are told.
"""

import json
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy

threads = int(sys.argv[1])
ROUND_SECONDS = 0.03


def processor_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def best(run, rounds):
    """Seconds of one run: the least by the wall's clock, and the least by processor time."""
    run()
    started = time.perf_counter()
    run()
    count = max(1, int(ROUND_SECONDS / (time.perf_counter() - started)))
    walls = []
    processors = []
    for _ in range(rounds):
        started, before = time.perf_counter(), processor_seconds()
        for _ in range(count):
            run()
        processors.append((processor_seconds() - before) / count)
        walls.append((time.perf_counter() - started) / count)
    return min(walls), min(processors)


def product(size, rounds):
    a = numpy.random.rand(size, size).astype(numpy.float32)
    b = numpy.random.rand(size, size).astype(numpy.float32)
    c = numpy.empty((size, size), dtype=numpy.float32)
    wall, processor = best(lambda: numpy.matmul(a, b, out=c), rounds)
    flops = 2 * size**3
    return {"gflops": flops / wall / 1e9, "gflops_a_processor_second": flops / processor / 1e9}


def memory_read():
    # Sums read and write nothing else; numpy lets go of its lock meanwhile.
    parts = [numpy.ones(1 << 25, dtype=numpy.float32) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        wall, _ = best(lambda: list(pool.map(lambda part: part.sum(), parts)), 7)
    return sum(part.nbytes for part in parts) / wall / 1e9


if "--turns" in sys.argv:
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(product(1024, 4)), flush=True)
else:
    sizes = {size: product(size, 9) for size in (384, 1024, 2048)}
    print(json.dumps({"sgemm": sizes, "memory_read_gb_s": memory_read()}))
