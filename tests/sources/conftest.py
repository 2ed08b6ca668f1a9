"""Tiny data sets in the layout of the real ones: tables as text, films as empty files (a source opens none)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
