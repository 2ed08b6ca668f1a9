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

    def write(syntax: str = ExplicitVRLittleEndian, *, preamble: bool = True, **tags: Any) -> Path:
        dataset = Dataset()
        for name, value in {**USUAL, **tags}.items():
            if value is not None:
                setattr(dataset, name, value)
        implicit, little = syntax == "1.2.840.10008.1.2", syntax != "1.2.840.10008.1.2.2"
        if "PixelData" in dataset:
            packed = dataset.PixelData[:4] == b"\xfe\xff\x00\xe0"
            dataset["PixelData"].VR = "OB" if packed else "OW"
            dataset["PixelData"].is_undefined_length = packed
        path = tmp_path / f"film-{len(list(tmp_path.iterdir()))}.dcm"
        if preamble:
            dataset.preamble, dataset.file_meta = bytes(128), FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path, implicit_vr=implicit, little_endian=little, force_encoding=preamble)
        return path

    return write
