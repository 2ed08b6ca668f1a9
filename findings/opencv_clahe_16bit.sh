#!/usr/bin/env bash
# OpenCV: the clip limit of CLAHE on a 16-bit image.
#
# Guess: createCLAHE(clipLimit=2) limits the contrast of a film alike in 8 and in 16 bits, and a larger
#        limit gives more contrast.
# What happens: the limit is a count of pixels for each of the histogram's values, of which 16 bits have
#        65,536, more than a tile has pixels. It is rounded down to a whole number, at least 1: on a
#        film of 512 x 512 in the usual 8 x 8 tiles every limit below 32 gives the same bytes, which
#        are far from those of the 8-bit film.
# Why it matters: radiographs have 10 to 16 bits, and papers give a clip limit (2 and 40 are common) as
#        if it meant the same everywhere.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 opencv-python-headless==5.0.0.93 || exit 2
cd "$folder" && "$folder/venv/bin/python" -W error - <<'PY'
import sys

import cv2
import numpy as np

print("OpenCV", cv2.__version__, "Python", sys.version.split()[0])
rows, columns = np.mgrid[0:512, 0:512] / 512
film = np.sin(3 * columns) * np.cos(2 * rows) + 0.05 * np.random.default_rng(0).standard_normal((512, 512))
film = cv2.GaussianBlur(film, (0, 0), 1.0)
film = (film - film.min()) / (film.max() - film.min())  # [512, 512] from 0 to 1
bits8, bits16 = np.rint(film * 255).astype(np.uint8), np.rint(film * 65_535).astype(np.uint16)


def enhanced(image: np.ndarray, limit: float) -> np.ndarray:
    return cv2.createCLAHE(clipLimit=limit, tileGridSize=(8, 8)).apply(image)


first = enhanced(bits16, 0.5)
for limit in (0.5, 1, 2, 4, 8, 16, 31, 40):
    small, large = enhanced(bits8, limit), enhanced(bits16, limit)
    apart = np.abs(small / 255 - large / 65_535).mean()
    same = "as with 0.5" if np.array_equal(large, first) else "other bytes"
    print(f"limit {limit:4}: 16 bits {same}; 8 and 16 bits differ by {apart:.3f} of the range in the mean")
holds = (
    all(np.array_equal(enhanced(bits16, limit), first) for limit in (1, 2, 4, 8, 16, 31))
    and not np.array_equal(enhanced(bits16, 64), first)
    and not np.array_equal(enhanced(bits8, 2), enhanced(bits8, 4))
    and np.abs(enhanced(bits8, 2) / 255 - enhanced(bits16, 2) / 65_535).mean() > 0.03
)
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
