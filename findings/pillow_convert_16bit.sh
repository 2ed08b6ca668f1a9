#!/usr/bin/env bash
# Pillow: convert("RGB") or convert("L") of a 16-bit grey image cuts at 255 and does not scale.
#
# Guess: the 8-bit image shows the 16-bit radiograph, with its values divided by 256 (as Pillow does for
#        16-bit colour PNG), or the call warns or fails.
# What happens: every value above 255 becomes 255. A 12-bit film is 94 % white, one of 16 bits all white,
#        and no warning or error is given.
# Why it matters: radiographs are often 16-bit PNG, and the usual readers of folders call convert("RGB")
#        themselves: torchvision's ImageFolder, timm's ImageDataset, lightly's LightlyDataset.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet pillow==13.0.0 numpy==2.4.6 opencv-python-headless==5.0.0.93 || exit 2
cd "$folder" && "$folder/venv/bin/python" -W error - <<'PY'
import sys

import cv2
import numpy as np
import PIL
from PIL import Image

print("Pillow", PIL.__version__, "Python", sys.version.split()[0])
holds = True
for bits in (12, 16):
    ramp = np.linspace(0, 2**bits - 1, 256 * 256).reshape(256, 256).astype(np.uint16)
    Image.fromarray(ramp).save("film.png")
    film = Image.open("film.png")
    assert film.mode == "I;16" and np.array_equal(np.asarray(film), ramp)
    for mode in ("RGB", "L"):
        shown = np.asarray(film.convert(mode))
        white = float((shown == 255).mean())
        print(f"{bits} bits, convert({mode!r}): {white:.1%} of the pixels are 255, mean {shown.mean():.0f}")
        holds &= white > 0.93

colour = np.repeat(ramp[..., None], 3, axis=2)  # the same film as 16-bit colour
cv2.imwrite("colour.png", colour)
scaled = np.asarray(Image.open("colour.png").convert("RGB"))
print(f"16-bit colour PNG of the same film: mean {scaled.mean():.0f}, of the film / 257 {ramp.mean() / 257:.0f}")
holds &= abs(scaled.mean() - ramp.mean() / 257) < 1
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
