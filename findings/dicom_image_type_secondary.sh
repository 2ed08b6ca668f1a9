#!/usr/bin/env bash
# DICOM: Image Type SECONDARY on radiographs of a real archive.
#
# Guess: SECONDARY in Image Type marks secondary captures (saved screens, scanned paper), so a filter
#        on it rids an archive of them; de-identification scripts in use filter so.
# What happens: of the 7,469 chest films of the Indiana collection 2,308 say DERIVED\SECONDARY, 2,306
#        of them usual films of SOP class Computed Radiography that a workstation resampled. Of the
#        28 films with tags of a secondary capture two say SECONDARY.
# Why it matters: the filter throws away a third of the films and keeps most of the captures.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m pip download --quiet --no-deps -d "$folder" torchxrayvision==1.5.7 || exit 2
cd "$folder" && "${PYTHON:-python3}" <<'PY'
import csv
import gzip
import io
import sys
import zipfile
from pathlib import Path

print("torchxrayvision 1.5.7 (its table of headers), Python", sys.version.split()[0])
with zipfile.ZipFile(next(Path().glob("*.whl"))) as wheel:
    packed = wheel.read("torchxrayvision/data/nlmcxr_dicom_metadata.csv.gz")
rows = list(csv.DictReader(io.StringIO(gzip.decompress(packed).decode())))
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def is_capture(row):
    return row["SOP Class UID"] == CAPTURE or bool(row["Conversion Type"])


secondary = [row for row in rows if "SECONDARY" in row["Image Type"]]
captures = [row for row in rows if is_capture(row)]
both = sum(is_capture(row) for row in secondary)
resampled = sum("CSA RESAMPLED" in row["Image Type"] for row in secondary)
print(f"{len(rows)} films, {len(secondary)} with Image Type SECONDARY, {resampled} of them resampled")
print(f"{len(captures)} with tags of a secondary capture, {both} of them with Image Type SECONDARY")
holds = len(secondary) > len(rows) / 4 and both < len(captures) / 2
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
