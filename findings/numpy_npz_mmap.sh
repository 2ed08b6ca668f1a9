#!/usr/bin/env bash
# NumPy: mmap_mode of an uncompressed .npz archive.
#
# Guess: np.load("set.npz", mmap_mode="r")["images"] maps the array, as for a .npy file; an argument
#        that cannot be honoured is an error or a warning. And the archive keeps an array once read.
# What happens: the argument is ignored without a word, and every archive["images"] reads the
#        whole array from the disk again: archive["images"][i] in a loop reads all images each time.
# Why it matters: MedMNIST and many exports of medical images are .npz files of several GB.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 || exit 2
cd "$folder" && "$folder/venv/bin/python" -W error - <<'PY'
import sys
import time
import tracemalloc

import numpy as np

print("NumPy", np.__version__, "Python", sys.version.split()[0])
images = np.random.default_rng(0).integers(0, 256, (20_000, 64, 64), dtype=np.uint8)  # 82 MB
np.save("images.npy", images)
np.savez("set.npz", images=images)  # stored, not compressed

single = np.load("images.npy", mmap_mode="r")
archive = np.load("set.npz", mmap_mode="r")
tracemalloc.start()
first = archive["images"][0]
peak = tracemalloc.get_traced_memory()[1]
tracemalloc.stop()
start = time.perf_counter()
for index in range(20):
    archive["images"][index]
print(f"images.npy is a {type(single).__name__}, set.npz has a {type(archive['images']).__name__}")
print(f"one image of set.npz takes {peak / 1e6:.0f} MB, the array has {images.nbytes / 1e6:.0f} MB")
print(f"20 images of set.npz, one by one: {time.perf_counter() - start:.2f} s")
print("read once and kept:", archive["images"] is archive["images"])
holds = (
    isinstance(single, np.memmap)
    and not isinstance(archive["images"], np.memmap)
    and archive["images"] is not archive["images"]
    and peak >= images.nbytes
    and np.array_equal(first, images[0])
)
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
