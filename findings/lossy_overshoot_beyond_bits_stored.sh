#!/usr/bin/env bash
# Lossy JPEG 2000 in DICOM: white turns black when samples are masked to Bits Stored, as the standard has them.
#
# Guess: bits above Bits Stored are not part of the sample, so masking them is always safe: a 12-bit film that
#        was compressed with loss has values from 0 to 4095, off by a little.
# What happens: encoders code the 16-bit words with a precision of 16. Around bright edges the decoded wavelet
#        overshoots 4095, and nothing clips it. 4097 masked to 12 bits is 1: specks of black in what is white.
#        Not masked, overlays in the high bits come through. What is right depends on the transform in the
#        frame's own header (irreversible 9-7: clip; reversible 5-3: mask), which no DICOM tag states.
# Why it matters: markers, metal and bone, the brightest parts of a radiograph, get black spots.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet imagecodecs==2026.3.6 pydicom==3.0.2 pylibjpeg==2.1.0 \
  pylibjpeg-openjpeg==2.6.0 numpy==2.4.6 || exit 2
cd "$folder" && "$folder/venv/bin/python" - <<'PY'
import sys
import warnings

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, ComputedRadiographyImageStorage, generate_uid

warnings.simplefilter("ignore")
print("pydicom", pydicom.__version__, "imagecodecs", imagecodecs.__version__, "Python", sys.version.split()[0])
rng = np.random.default_rng(0)
film = (1500 + rng.normal(0, 30, (256, 256))).astype(np.uint16)
film[40:90, 40:200] = 4095  # a lead marker
frame = imagecodecs.jpeg2k_encode(film, codecformat="j2k", level=75, reversible=False)
ds = Dataset()
ds.file_meta = FileMetaDataset()
ds.file_meta.TransferSyntaxUID = JPEG2000
ds.SOPClassUID, ds.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
ds.Rows, ds.Columns, ds.PixelRepresentation = 256, 256, 0
ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
ds.PixelData = encapsulate([frame])
ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
ds.save_as("film.dcm", enforce_file_format=True)
pixels = pydicom.dcmread("film.dcm").pixel_array
masked, clipped = pixels & 4095, np.minimum(pixels, 4095)
marker = np.s_[40:90, 40:200]
print(f"decoded: from {pixels.min()} to {pixels.max()}, Bits Stored {ds.BitsStored}")
black = int((masked[marker] < 100).sum())
print(f"masked to 12 bits: {black} of {film[marker].size} pixels of the marker are below 100")
print(f"clipped: the largest error is {np.abs(clipped.astype(int) - film).max()}")
holds = pixels.max() > 4095 and black > 100 and np.abs(clipped.astype(int) - film).max() < 200
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
