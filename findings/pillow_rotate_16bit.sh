#!/usr/bin/env bash
# Pillow: rotating a 16-bit grey image with interpolation loses the image.
#
# Guess: rotate(1, BILINEAR) of a 16-bit radiograph is the radiograph, turned by one degree; it
#        works so for 8 bits, for int32 and for float32, and resize() of the same image is right.
# What happens: the result is nearly black, and no warning or error is given. NEAREST is right.
# Why it matters: radiographs are often 16-bit PNG; rotation is a usual augmentation.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet pillow==13.0.0 numpy==2.4.6 || exit 2
cd "$folder" && "$folder/venv/bin/python" -W error - <<'PY'
import sys

import numpy as np
import PIL
from PIL import Image

print("Pillow", PIL.__version__, "Python", sys.version.split()[0])
ramp = np.tile((np.arange(64) * 1000).astype(np.uint16), (64, 1))  # left to right 0 to 63,000
Image.fromarray(ramp).save("film.png")
film = Image.open("film.png")
assert film.mode == "I;16" and np.array_equal(np.asarray(film), ramp)

wide = Image.fromarray(ramp.astype(np.int32))
centre = slice(16, 48)  # away from the corners that a rotation fills with 0
error = {}
for name in ("NEAREST", "BILINEAR", "BICUBIC"):
    how = getattr(Image.Resampling, name)
    shown = np.asarray(film.rotate(1, how))[centre, centre].astype(float)
    right = np.asarray(wide.rotate(1, how))[centre, centre].astype(float)
    error[name] = np.abs(shown - right).max()
    print(f"rotate(1, {name}): mean {shown.mean():.0f}, as int32 {right.mean():.0f}")
resized = np.asarray(film.resize((32, 32), Image.Resampling.BILINEAR)).mean()
print(f"resize(BILINEAR): mean {resized:.0f}, of the image {ramp.mean():.0f}")
holds = (
    error["NEAREST"] == 0
    and abs(resized - ramp.mean()) < 100
    and error["BILINEAR"] > 20000
    and error["BICUBIC"] > 20000
)
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
