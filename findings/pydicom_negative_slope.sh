#!/usr/bin/env bash
# pydicom: a film whose Rescale Slope is negative and that has a window comes out as its negative.
#
# Guess: apply_windowing(apply_modality_lut(...)) maps the lower end of the window to the lowest
#        output and the upper end to the highest, whatever the slope (PS3.3 C.11.2.1.2.1).
# What happens: the output range is made of the rescaled ends of the stored range in the order
#        lowest stored, highest stored. With a negative slope the first is the larger one, so the
#        picture is inverted, and nothing warns. highdicom, on the same file, is right.
# Why it matters: CR readers of one vendor write slope -10 (OHIF/Viewers#127): bones black, lungs white.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet pydicom==3.0.2 highdicom==0.28.2 numpy==2.4.6 || exit 2
cd "$folder" && "$folder/venv/bin/python" - <<'PY'
import sys

import highdicom
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_windowing
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

print("pydicom", pydicom.__version__, "highdicom", highdicom.__version__, "Python", sys.version.split()[0])


def film(slope: float, intercept: float) -> str:
    """Write one film: stored 0 to 3000 from left to right, a window over all of the rescaled values."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientID, ds.PatientName, ds.Modality = "1", "A", "CR"
    ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ""
    ds.PatientBirthDate = ds.PatientSex = ds.StudyID = ""
    ds.SeriesNumber, ds.InstanceNumber = 1, 1
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns, ds.PixelRepresentation = 4, 31, 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = slope, intercept, "US"
    ends = sorted((intercept, 3000 * slope + intercept))
    ds.WindowCenter, ds.WindowWidth = (ends[0] + ends[1]) / 2, ends[1] - ends[0]
    ds.PixelData = np.tile(np.arange(0, 3001, 100, dtype=np.uint16), (4, 1)).tobytes()
    ds["PixelData"].VR = "OW"
    name = f"slope{slope}.dcm"
    ds.save_as(name, enforce_file_format=True)
    return name


rises = {}
for slope, intercept in ((10, -3000), (-10, 3000)):
    name = film(slope, intercept)
    ds = pydicom.dcmread(name)
    rescaled = apply_modality_lut(ds.pixel_array, ds)
    shown = apply_windowing(rescaled, ds)
    right = highdicom.imread(name).get_frame(1, apply_voi_transform=True)
    print(f"slope {slope}: rescaled {rescaled[0, 0]:.0f} … {rescaled[0, -1]:.0f}")
    for tool, picture in (("pydicom", shown), ("highdicom", right)):
        brighter = bool((picture[0, -1] > picture[0, 0]) == (rescaled[0, -1] > rescaled[0, 0]))
        rises[tool, slope] = brighter
        print(f"  {tool:9}: {picture[0, 0]:.2f} … {picture[0, -1]:.2f}: larger values are {'brighter' if brighter else 'DARKER'}")
holds = rises == {("pydicom", 10): True, ("highdicom", 10): True, ("pydicom", -10): False, ("highdicom", -10): True}
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
