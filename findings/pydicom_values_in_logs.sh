#!/usr/bin/env bash
# pydicom: what it says of a value that breaks a rule, where a program has silenced warnings.
#
# Guess: warnings.simplefilter("ignore") keeps pydicom quiet about values that are too long or
#        malformed, as it does with other libraries.
# What happens: each such warning is written to pydicom's logger too, whatever the warning filters
#        say, and quotes the value where it is malformed. A program that has set up logging writes
#        it to its log.
# Why it matters: values of headers are names, numbers and dates of patients. Logs are kept, and are
#        read by others than the data.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet pydicom==3.0.2 || exit 2
cd "$folder" && "$folder/venv/bin/python" <<'PY'
import logging
import sys
import warnings
from io import BytesIO, StringIO

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

print("pydicom", pydicom.__version__, "Python", sys.version.split()[0])
log = StringIO()
logging.basicConfig(stream=log, level=logging.INFO)
dataset = Dataset()
dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
dataset.StudyInstanceUID = "1.2.471100001"
dataset.file_meta = FileMetaDataset()
dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
file = BytesIO()
dataset.save_as(file, enforce_file_format=True)
# As some archives write it: made of the accession number.
content = file.getvalue().replace(b"1.2.471100001", b"1.2.ACC471100")

with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("ignore")
    read = pydicom.dcmread(BytesIO(content))
    read.StudyInstanceUID
    read.PatientBirthDate = "13.06.1947"
print("warnings seen:", len(warned))
print("in the log:", log.getvalue().strip() or "nothing")
holds = not warned and all(value in log.getvalue() for value in ("ACC471100", "13.06.1947"))
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
