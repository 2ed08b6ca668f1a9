"""Codes of findings in structured reports: DICOM's free subset of SNOMED CT where it has one, else our own.

Source: the code dictionary of DICOM PS3.16 as pydicom has it. What it lacks gets a code of the scheme
99HILUM, as PS3.16 section 8 provides for; no code is invented in another's scheme.
"""

from __future__ import annotations

import hashlib

from highdicom.sr import CodedConcept

OWN = "99HILUM"
_SNOMED = {
    "Cardiomegaly": ("287272002", "Cardiomegaly"),
    "Edema": ("19242006", "Pulmonary edema"),
    "Effusion": ("60046008", "Pleural effusion"),
    "Pleural Effusion": ("60046008", "Pleural effusion"),
    "Fibrosis": ("112674009", "Fibrosis"),
    "Mass": ("4147007", "Mass"),
    "Nodule": ("27925004", "Nodule"),
    "Pneumothorax": ("36118008", "Pneumothorax"),
}
_DICOM = {"Infiltration": ("112121", "Infiltrate"), "Lung Opacity": ("112001", "Opacity")}

PRESENT = CodedConcept("52101004", "SCT", "Present")
ABSENT = CodedConcept("272519000", "SCT", "Absent")
PROBABILITY = CodedConcept("122157", "DCM", "Probability")
NO_UNITS = CodedConcept("1", "UCUM", "no units")
PROCEDURE = CodedConcept("168537006", "SCT", "Plain radiography")
CALLED = CodedConcept("called", OWN, "Called at the model's threshold")
THRESHOLD = CodedConcept("threshold", OWN, "Threshold of the model")


def finding_code(finding: str) -> CodedConcept:
    """Return the code of a model's finding.

    >>> finding_code("Pneumothorax").value, finding_code("Pneumonia").scheme_designator
    ('36118008', '99HILUM')
    """
    if finding in _SNOMED:
        value, meaning = _SNOMED[finding]
        return CodedConcept(value, "SCT", meaning)
    if finding in _DICOM:
        value, meaning = _DICOM[finding]
        return CodedConcept(value, "DCM", meaning)
    short = hashlib.blake2b(finding.encode(), digest_size=6).hexdigest()
    return CodedConcept(f"f-{short}", OWN, finding[:64])
