"""Splits: whole patients only, stratified by finding, with nested fractions of the training patients, hashed."""

from hilum.splits.copies import NO_COPIES, KnownCopies
from hilum.splits.division import TEST_SHARE, VAL_SHARE, official_or_patient_split, patient_split
from hilum.splits.reading import FILE_NAME
from hilum.splits.split import FRACTIONS, PARTS, PATIENT_PARTS, Placement, Split

__all__ = [
    "FILE_NAME",
    "FRACTIONS",
    "NO_COPIES",
    "PARTS",
    "PATIENT_PARTS",
    "TEST_SHARE",
    "VAL_SHARE",
    "KnownCopies",
    "Placement",
    "Split",
    "official_or_patient_split",
    "patient_split",
]
