"""Tiny data sets in the layout of the real ones: tables as text, films as empty files (a source opens none)."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
NIH_ROWS = (
    "00000001_000.png,Cardiomegaly|Effusion,0,1,57,M,PA,2682,2749,0.143,0.143",
    "00000001_001.png,No Finding,1,1,058Y,M,AP,2682,2749,0.143,0.143",
    "00000002_000.png,Pleural_Thickening,0,2,414,F,PA,2682,2749,0.143,0.143",
    "00000003_000.png,Hernia,0,3,60,F,PA,2682,2749,0.143,0.143",
)
CHEXPERT_HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
CHEXPERT_ROWS = (
    "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0",
    "CheXpert-v1.0-small/train/patient00001/study1/view2_lateral.jpg,Female,68,Lateral,,,,,1.0,,-1.0,,,,,,,,",
    "CheXpert-v1.0-small/train/patient00002/study3/view1_frontal.jpg,Unknown,87,Frontal,LL,,,-1.0,1,,-1,,,,0,,,1.0,",
)

PADCHEST_TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
PADCHEST_HEADER = (
    "ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,"
    "Projection,Labels"
)
PADCHEST_ROWS = (
    "a1.png,0,20140915,s1,1,1930.0,F,PA,['normal']",
    "a2.png,0,20140915,s1,1,1930.0,F,L,['normal']",
    "b.png,54,20131212,s2,2,1957.0,M,AP_horizontal,\"['NSG tube', ' pleural effusion', '']\"",
    "c.png,54,20131212,s1,3,nan,O,COSTAL,['unchanged']",
    "d.png,1,20131212,s4,4,1957.0,M,PA,nan",
)
MIMIC_TABLES = {
    "metadata": """dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns
aa-1,10000032,50414267,CHEST (PA AND LAT),PA,3056,2544
aa-2,10000032,50414267,CHEST (PA AND LAT),LATERAL,3056,2544
bb-1,11000011,50000001,CHEST (PORTABLE AP),AP,3056,2544
cc-1,19999987,59999999,,,3056,2544
""",
    "split": """dicom_id,study_id,subject_id,split
cc-1,59999999,19999987,test
aa-1,50414267,10000032,train
aa-2,50414267,10000032,train
bb-1,50000001,11000011,validate
""",
    "chexpert": """subject_id,study_id,Atelectasis,Edema,No Finding,Pleural Effusion
11000011,50000001,1.0,-1.0,,0.0
10000032,50414267,,,1.0,
""",
    "negbio": """subject_id,study_id,Atelectasis,Edema,No Finding,Pleural Effusion
11000011,50000001,0.0,-1.0,,0.0
10000032,50414267,,,1.0,
""",
}
MIMIC_FILMS = (
    "files/p10/p10000032/s50414267/aa-1.jpg",
    "files/p10/p10000032/s50414267/aa-2.jpg",
    "files/p11/p11000011/s50000001/bb-1.jpg",
    "files/p19/p19999987/s59999999/cc-1.jpg",
)


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


class NIH:
    """Builds an NIH folder whose table has the given rows, and all films but the fourth."""

    header, rows = NIH_HEADER, NIH_ROWS

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(
        self,
        rows: Sequence[str] = NIH_ROWS,
        header: str = NIH_HEADER,
        table: str = "Data_Entry_2017_v2020.csv",
    ) -> Path:
        touch(self.root, *(f"images/{row.split(',')[0]}" for row in NIH_ROWS[:3]))
        (self.root / table).write_text("\n".join([header, *rows]) + "\n")
        (self.root / "train_val_list.txt").write_text(
            "00000001_000.png\n00000001_001.png\n00000003_000.png"
        )
        (self.root / "test_list.txt").write_text("00000002_000.png\n")
        return self.root


class CheXpert:
    """Builds a CheXpert folder whose train.csv has the given rows, with all films of ``rows``."""

    header, rows = CHEXPERT_HEADER, CHEXPERT_ROWS

    def __init__(self, above: Path) -> None:
        self.above = above

    def __call__(
        self,
        rows: Sequence[str] = CHEXPERT_ROWS,
        header: str = CHEXPERT_HEADER,
        name: str = "CheXpert-v1.0-small",
    ) -> Path:
        root = self.above / name
        touch(root, *(row.split(",")[0].partition("/")[2] for row in CHEXPERT_ROWS))
        (root / "train.csv").write_text("\n".join([header, *rows]) + "\n")
        return root


class Films:
    """Builds a folder with the given films and, if wanted, a table ``t.csv``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, *paths: str, table: str = "") -> Path:
        touch(self.root, *paths)
        if table:
            (self.root / "t.csv").write_text(table)
        return self.root


class MedMNIST:
    """Builds a folder with one set's archive; keywords replace its arrays, and None takes one out."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(
        self,
        name: str = "chestmnist_64",
        side: int = 8,
        labels: int = 14,
        **arrays: np.ndarray | None,
    ) -> Path:
        rng = np.random.default_rng(0)
        all_arrays: dict[str, np.ndarray | None] = {}
        for part, films in {"train": 9, "val": 4, "test": 5}.items():
            all_arrays[f"{part}_images"] = rng.integers(0, 256, (films, side, side)).astype(
                np.uint8
            )
            all_arrays[f"{part}_labels"] = rng.integers(0, 2, (films, labels)).astype(np.uint8)
        self.root.mkdir(exist_ok=True)
        file = self.root / f"{name}.npz"
        kept = {key: array for key, array in {**all_arrays, **arrays}.items() if array is not None}
        np.savez_compressed(file, **kept)
        return file


@pytest.fixture
def medmnist(tmp_path: Path) -> MedMNIST:
    return MedMNIST(tmp_path / "medmnist")


@pytest.fixture(name="touch")
def touch_fixture() -> Callable[..., None]:
    return touch


@pytest.fixture
def nih(tmp_path: Path) -> NIH:
    return NIH(tmp_path / "nih")


@pytest.fixture
def chexpert(tmp_path: Path) -> CheXpert:
    return CheXpert(tmp_path)


@pytest.fixture
def films(tmp_path: Path) -> Films:
    return Films(tmp_path / "films")


def padchest(root: Path, rows: Sequence[str] = (), table: str = PADCHEST_TABLE) -> Path:
    """Lay down a PadChest folder with the given rows, and all films of the usual ones but the last."""
    touch(root, *("/".join(row.split(",")[1::-1]) for row in PADCHEST_ROWS[:-1]))
    text = "\n".join([PADCHEST_HEADER, *(rows or PADCHEST_ROWS)]) + "\n"
    packed = table.endswith(".gz")
    (root / table).write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return root


def mimic(root: Path, packed: bool = False, **edits: tuple[str, str]) -> Path:
    """Lay down a folder like MIMIC-CXR-JPG's with all films; edits replace a text of one table."""
    for kind, text in MIMIC_TABLES.items():
        old, new = edits.get(kind, ("", ""))
        content = text.replace(old, new).encode() if old else text.encode()
        name = f"mimic-cxr-2.0.0-{kind}.csv{'.gz' if packed else ''}"
        root.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(gzip.compress(content) if packed else content)
    touch(root, *MIMIC_FILMS)
    return root


@pytest.fixture(name="padchest")
def padchest_fixture(tmp_path: Path) -> Callable[..., Path]:
    return partial(padchest, tmp_path / "padchest")


@pytest.fixture(name="mimic")
def mimic_fixture(tmp_path: Path) -> Callable[..., Path]:
    return partial(mimic, tmp_path / "mimic")
