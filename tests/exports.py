"""An export of DICOM films of a few pixels, as hospitals send them: any tags, any names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

DX, CR = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1"
SIDE = 24


class Export:
    """Writes films below a folder; ``export(path, Tag=value)`` with a tag None leaves it out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0

    def __call__(self, path: str, /, patient: str = "P1", study: str = "1", **tags: Any) -> Path:
        self.count += 1
        usual: dict[str, Any] = {
            "SOPClassUID": DX,
            "SOPInstanceUID": f"1.2.9.{self.count}",
            "Modality": "DX",
            "PatientID": patient,
            "PatientName": f"Roe^{patient}",
            "StudyInstanceUID": f"1.2.7.{study}",
            "SeriesInstanceUID": f"1.2.8.{self.count}",
            "AccessionNumber": f"A{study}",
            "StudyDate": "20200301",
            "PatientSex": "F",
            "PatientBirthDate": "19500401",
            "BodyPartExamined": "CHEST",
            "ViewPosition": "PA",
            "BurnedInAnnotation": "NO",
            "Manufacturer": "Acme",
            "ManufacturerModelName": "Ray 1",
            "ImageType": ["ORIGINAL", "PRIMARY"],
            "PresentationIntentType": "FOR PRESENTATION",
            "PhotometricInterpretation": "MONOCHROME2",
            "SamplesPerPixel": 1,
            "Rows": SIDE,
            "Columns": SIDE,
            "BitsAllocated": 16,
            "BitsStored": 12,
            "HighBit": 11,
            "PixelRepresentation": 0,
        }
        pixels = np.random.default_rng(self.count).integers(0, 4096, (SIDE, SIDE), np.uint16)
        dataset = Dataset()
        for name, value in {**usual, "PixelData": pixels.tobytes(), **tags}.items():
            if value is not None:
                setattr(dataset, name, value)
        if "PixelData" in dataset:
            dataset["PixelData"].VR = "OW"
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", DX)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2.3")
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(file, enforce_file_format=True)
        return file

    def table(self, text: str, name: str = "labels.csv") -> Path:
        """Write a table beside the tree, not in it."""
        path = self.root.parent / name
        path.write_text(text)
        return path


def coded(*meanings: str) -> Sequence:
    """Return a sequence of codes with these meanings."""
    items = []
    for meaning in meanings:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99X", meaning
        items.append(item)
    return Sequence(items)


def referring(*uids: str) -> Sequence:
    """Return a sequence that refers to images."""
    items = []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = DX, uid
        items.append(item)
    return Sequence(items)
