"""Whether a training left weights that can be used.

    python read_adapters.py ADAPTERS

Prints how many tensors there are, how many hold a number that is not finite, and how many of those that begin as
zero (``lora_b``) no longer are.
"""

import json
import sys

import numpy
from safetensors.numpy import load_file  # type: ignore[import-not-found]

tensors = load_file(sys.argv[1])
finite = {name: bool(numpy.isfinite(value).all()) for name, value in tensors.items()}
changed = [name for name, value in tensors.items() if name.endswith("lora_b") and value.any()]
print(json.dumps({"tensors": len(tensors), "not_finite": list(finite.values()).count(False), "changed": len(changed)}))
