#!/usr/bin/env bash
# safetensors: the bytes of a file with metadata.
#
# Guess: the same tensors and the same metadata give the same bytes; the format is a sorted header and the
#        tensors, made to be simple and safe.
# What happens: tensors are sorted, but metadata are written in an order drawn anew at each call: with four
#        entries, twenty calls in one process give more than ten different files. With one entry, or
#        none, the bytes are the same each time.
# Why it matters: a model file is often known by its SHA-256 (a manifest, a cache, a registry), and training
#        that is repeatable to the last bit seems not to be. Put one entry with all in it (JSON).
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 safetensors==0.8.0 || exit 2
cd "$folder" && "$folder/venv/bin/python" -W error - <<'PY'
import hashlib
import sys

import numpy as np
import safetensors
from safetensors.numpy import load, save

print("safetensors", safetensors.__version__, "Python", sys.version.split()[0])
weights = {"head.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "head.bias": np.zeros(2, np.float32)}
about = {"network": "resnet18", "findings": "14", "seed": "0", "epoch": "9"}
backwards = dict(reversed(weights.items()))


def hashes(metadata: dict[str, str] | None) -> set[str]:
    files = [save(tensors, metadata) for tensors in (weights, backwards) for _ in range(10)]
    assert all(np.array_equal(load(file)["head.weight"], weights["head.weight"]) for file in files)
    return {hashlib.sha256(file).hexdigest() for file in files}


counts = {len(metadata): len(hashes(metadata)) for metadata in ({}, {"seed": "0"}, about)}
for entries, different in counts.items():
    print(f"{entries} entries of metadata: {different} different files of 20")
holds = counts[0] == 1 and counts[1] == 1 and counts[4] > 1
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
