"""Loads packages with coremltools: description, weights and the program as its own converter reads it, every op
checked against its definition there. Prints one JSON object a package."""

import collections
import json
import os
import sys

sys.path.insert(0, sys.argv[1])
import coremltools  # noqa: E402
from coremltools.converters.mil.frontend.milproto.load import load  # noqa: E402


def ops_of(block, counts):
    for operation in block.operations:
        if operation.op_type != "const":
            counts[operation.op_type] += 1
        for inner in operation.blocks:
            ops_of(inner, counts)


def examine(path):
    spec = coremltools.utils.load_spec(path)
    model = coremltools.models.MLModel(path, skip_model_load=True)
    weights = os.path.join(path, "Data", "com.apple.CoreML", "weights")
    program = load(spec, spec.specificationVersion, weights)
    counts = collections.Counter()
    for function in program.functions.values():
        ops_of(function, counts)
    description = model.get_spec().description
    return {
        "specification": spec.specificationVersion,
        "inputs": [one.name for one in description.input],
        "outputs": [one.name for one in description.output],
        "states": len(description.state),
        "ops": sum(counts.values()),
        "kinds": len(counts),
    }


print(json.dumps({"version": coremltools.__version__}), flush=True)
for name in sys.argv[2:]:
    try:
        row = examine(name)
    except Exception as error:  # whatever it refuses is the result
        row = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps({"path": name, **row}), flush=True)
