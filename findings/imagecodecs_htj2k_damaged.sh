#!/usr/bin/env bash
# imagecodecs: htj2k_decode of half a frame returns a picture, without an exception or a warning.
#
# Guess: a High-Throughput JPEG 2000 frame that ends early is an error unless resilient=True is given, as it is for
#        jpeg2k_decode of the same bytes (OpenJPEG reads both), and for jpegls_decode and jpegxl_decode of theirs.
# What happens: with resilient=False, its default, the call returns an array of the right shape that lacks the
#        film's detail (a mean error of 6 grey levels of a lossless frame here), and nothing is said.
# Why it matters: a truncated radiograph passes as a film, with what is fine in it gone.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet imagecodecs==2026.3.6 numpy==2.4.6 || exit 2
cd "$folder" && "$folder/venv/bin/python" -W error - <<'PY'
import sys

import imagecodecs
import numpy as np

print("imagecodecs", imagecodecs.__version__, imagecodecs.htj2k_version(), "Python", sys.version.split()[0])
unraised = []
sys.unraisablehook = lambda event: unraised.append(str(event.exc_value))
down, across = np.mgrid[:1200, :1200]
noise = np.random.default_rng(0).normal(0, 12, (1200, 1200))
film = (2000 + 1500 * np.sin(across / 150) * np.cos(down / 190) + noise).astype(np.uint16)
frames = {
    "htj2k_decode": (imagecodecs.htj2k_encode(film, reversible=True), imagecodecs.htj2k_decode),
    "jpeg2k_decode": (imagecodecs.htj2k_encode(film, reversible=True), imagecodecs.jpeg2k_decode),
    "jpegls_decode": (imagecodecs.jpegls_encode(film), imagecodecs.jpegls_decode),
    "jpegxl_decode": (imagecodecs.jpegxl_encode(film, lossless=True), imagecodecs.jpegxl_decode),
}
returned = {}
for name, (frame, decode) in frames.items():
    assert np.array_equal(decode(frame), film)
    try:
        shown = decode(frame[: len(frame) // 2])
    except Exception as error:
        print(f"{name:14} of half a frame: {type(error).__name__}")
        continue
    returned[name] = float(np.abs(shown.astype(int) - film).mean())
    print(f"{name:14} of half a frame: {shown.shape}, mean error {returned[name]:.0f} of 4095; raised and lost: {unraised}")
holds = set(returned) == {"htj2k_decode"} and returned["htj2k_decode"] > 2
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
