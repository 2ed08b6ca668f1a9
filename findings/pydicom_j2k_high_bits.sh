#!/usr/bin/env bash
# pydicom: whether an overlay in the unused high bits reaches pixel_array depends on the compression.
#
# Guess: pixel_array of a 12-bit film in 16-bit words has values below 4096 in every transfer syntax,
#        since Bits Stored says 12: the same film, stored natively, in RLE and in JPEG 2000, is the same array.
# What happens: native and RLE pixels are masked to 12 bits, those of lossless JPEG 2000, High-Throughput
#        JPEG 2000 and JPEG-LS are not. An old embedded overlay (bit 15) makes them 32,768 larger.
# Why it matters: min-max scaling then turns the film black, and writing that was hidden in the
#        overlay (a name, say) is burnt into the picture. dcmtk's window step masks in every syntax.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet pydicom==3.0.2 pylibjpeg==2.1.0 pylibjpeg-openjpeg==2.6.0 \
  pyjpegls==1.5.1 imagecodecs==2026.3.6 numpy==2.4.6 || exit 2
cd "$folder" && "$folder/venv/bin/python" - <<'PY'
import sys
import warnings

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import (
    HTJ2KLossless, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless,
    RLELossless, generate_uid,
)

warnings.simplefilter("ignore")
print("pydicom", pydicom.__version__, "Python", sys.version.split()[0])
film = np.tile(np.arange(0, 4096, 64, dtype=np.uint16), (64, 1))
words = film.copy()
words[20:30, 20:30] |= 0x8000  # the overlay: a square in bit 15
rle = get_encoder(RLELossless).encode(
    words, rows=64, columns=64, samples_per_pixel=1, bits_allocated=16, bits_stored=16, pixel_representation=0,
    photometric_interpretation="MONOCHROME2", number_of_frames=1,
)
frames = {
    ExplicitVRLittleEndian: words.tobytes(),
    RLELossless: rle,
    JPEG2000Lossless: imagecodecs.jpeg2k_encode(words, codecformat="j2k", reversible=True),
    HTJ2KLossless: imagecodecs.htj2k_encode(words, reversible=True),
    JPEGLSLossless: imagecodecs.jpegls_encode(words),
}
largest = {}
for syntax, frame in frames.items():
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.SOPClassUID, ds.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns, ds.PixelRepresentation = 64, 64, 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelData = frame if syntax == ExplicitVRLittleEndian else encapsulate([frame])
    ds["PixelData"].VR = "OW" if syntax == ExplicitVRLittleEndian else "OB"
    ds["PixelData"].is_undefined_length = syntax != ExplicitVRLittleEndian
    ds.save_as("film.dcm", enforce_file_format=True)
    pixels = pydicom.dcmread("film.dcm").pixel_array
    largest[syntax.name] = int(pixels.max())
    print(f"{syntax.name:50} largest value {pixels.max()}")
masked = {name for name, value in largest.items() if value < 4096}
holds = masked == {ExplicitVRLittleEndian.name, RLELossless.name}
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
