#!/usr/bin/env bash
# imagecodecs: htj2k_decode of a cut or damaged frame returns, and what it returns was never written.
#
# Guess: a High-Throughput JPEG 2000 frame that ends early raises an exception, as jpeg2k_decode
#        of the same bytes does (OpenJPEG), or jpegls_decode and jpegxl_decode of theirs.
# What happens: OpenJPH's error is raised in a Cython function that cannot pass it on. It is printed
#        as "Exception ignored", the call returns an array of the right shape, and the rows that were
#        not decoded are whatever the memory held before, here a film decoded a moment ago.
# Why it matters: a truncated radiograph passes as a film, and holds parts of another patient's.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet imagecodecs==2026.3.6 numpy==2.4.6 || exit 2
cd "$folder" && "$folder/venv/bin/python" - <<'PY'
import sys

import imagecodecs
import numpy as np

print("imagecodecs", imagecodecs.__version__, imagecodecs.htj2k_version(), "Python", sys.version.split()[0])
unraised = []
sys.unraisablehook = lambda event: unraised.append(str(event.exc_value))
rng = np.random.default_rng(0)
film = rng.integers(0, 4096, (1200, 1200), dtype=np.uint16)
frame = imagecodecs.htj2k_encode(film, reversible=True)
cut = frame[: len(frame) // 2]
assert np.array_equal(imagecodecs.htj2k_decode(frame), film)

try:
    imagecodecs.jpeg2k_decode(cut)
    print("jpeg2k_decode of half the frame: returned")
    refused = False
except imagecodecs.Jpeg2kError as error:
    print(f"jpeg2k_decode of half the frame: {error}")
    refused = True

other = np.full((1200, 1200), 43210, np.uint16)  # "another patient's film", freed before the next call
del other
shown = imagecodecs.htj2k_decode(cut)
left = float((shown == 43210).mean())
print(f"htj2k_decode of half the frame: an array {shown.shape}, exceptions ignored: {unraised}")
print(f"  {float((shown == film).mean()):.0%} of its pixels are the film's, {left:.0%} are the other film's 43210")
holds = refused and bool(unraised) and shown.shape == film.shape and left > 0.2
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
