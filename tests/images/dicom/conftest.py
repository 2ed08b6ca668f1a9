"""A DICOM file of a few pixels with any tags."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

USUAL = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1",
    "SOPInstanceUID": "1.2.3.4",
    "Modality": "DX",
    "PatientID": "Roe 7",
    "StudyInstanceUID": "1.2.3",
    "PhotometricInterpretation": "MONOCHROME2",
    "SamplesPerPixel": 1,
    "Rows": 2,
    "Columns": 3,
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
    "PixelData": bytes(12),
}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file with the usual tags, those given by keyword instead, None to leave one out."""

    def write(
        syntax: str | None = ExplicitVRLittleEndian, *, preamble: bool = True, **tags: Any
    ) -> Path:
        dataset = Dataset()
        for name, value in {**USUAL, **tags}.items():
            if value is not None:
                setattr(dataset, name, value)
        implicit, little = syntax == "1.2.840.10008.1.2", syntax != "1.2.840.10008.1.2.2"
        if "PixelData" in dataset:
            dataset["PixelData"].VR = "OW"
        path = tmp_path / f"film-{len(list(tmp_path.iterdir()))}.dcm"
        if syntax is not None and preamble:
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", "1.2")
            dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
            dataset.save_as(path, enforce_file_format=True)
        else:
            dataset.save_as(path, implicit_vr=implicit, little_endian=little)
        return path

    return write
