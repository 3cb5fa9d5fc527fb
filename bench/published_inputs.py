"""The inputs of a public benchmark of the engine from its published seeds (ANEForge, device_saturation_sweep), for
product-error.mjs. Usage: published_inputs.py gemm N FOLDER | convolution CHANNELS BATCH FOLDER

Writes x.bin and w.bin, the operands in double precision, and x.half and w.half, the same as fp16. NumPy draws the
numbers; its promotion rules since 2.0 make a convolution's weights double."""
import sys
from pathlib import Path

import numpy as np

if int(np.__version__.split(".")[0]) < 2:
    sys.exit(f"NumPy 2 or later is needed, this is {np.__version__}")
kind, size, *rest = sys.argv[1:]
size = int(size)
folder = Path(rest[-1])
if kind == "gemm":
    random = np.random.default_rng(0)
    root = np.float32(np.sqrt(size))
    x = (random.standard_normal((size, size)).astype(np.float32) / root)[:256]
    w = random.standard_normal((size, size)).astype(np.float32) / root
else:
    batch = int(rest[0])
    random = np.random.default_rng(1)
    x = random.standard_normal((batch, size, 64, 64)).astype(np.float32)[:1]
    w = random.standard_normal((size, size, 3, 3)).astype(np.float32) * np.sqrt(2.0 / (size * 9))
for name, numbers in (("x", x), ("w", w)):
    numbers.astype(np.float64).tofile(folder / f"{name}.bin")
    numbers.astype(np.float16).tofile(folder / f"{name}.half")
