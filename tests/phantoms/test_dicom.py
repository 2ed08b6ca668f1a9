"""Phantoms as DICOM: valid files in every vendor's habit, each of which shows the drawn film again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import pydicom
import pytest

from hilum.annotations.mask_files import read_masks
from hilum.errors import OptionError
from hilum.findings import CHEXPERT
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.phantoms.cohort import cohort
from hilum.phantoms.dicom_folder import film_path
from hilum.phantoms.film import draw
from hilum.phantoms.habits import HABITS

OPTIONS = PhantomOptions(count=80, size=48, seed=3, format="dicom")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms") / "archive"
    write_phantoms(folder, OPTIONS)
    return folder


@pytest.fixture(scope="module")
def truth(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "truth.csv")


def read(root: Path, path: str) -> pydicom.Dataset:
    return pydicom.dcmread(root / "dicom" / path)


def stored(film: pydicom.Dataset) -> np.ndarray:
    """Return the stored values as whole numbers, by other decoders than what wrote them where there are two."""
    shape = (film.Rows, film.Columns)
    kind = np.dtype(f"<{'i' if film.PixelRepresentation else 'u'}{film.BitsAllocated // 8}")
    syntax = film.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return (
            np.frombuffer(film.PixelData, kind, film.Rows * film.Columns).reshape(shape).astype(int)
        )
    (frame,) = pydicom.encaps.generate_frames(film.PixelData, number_of_frames=1)
    if "RLE" in syntax.name:
        return (
            np.frombuffer(imagecodecs.dicomrle_decode(frame, kind), kind).reshape(shape).astype(int)
        )
    decode = imagecodecs.jpeg2k_decode if "2000" in syntax.name else imagecodecs.ljpeg_decode
    return np.asarray(decode(frame)).astype(int)


def shown(film: pydicom.Dataset) -> np.ndarray:
    """Return the film as PS3.3 C.11 says that it is shown, from 0 to 1."""
    values = stored(film) * float(film.get("RescaleSlope", 1)) + float(
        film.get("RescaleIntercept", 0)
    )
    low = -(2 ** (film.BitsStored - 1)) if film.PixelRepresentation else 0
    if "VOILUTSequence" in film:
        data = film.VOILUTSequence[0].LUTData
        table = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.array(data)
        grey = table[values.astype(int)] / 65535
    elif film.get("VOILUTFunction") == "SIGMOID":
        grey = 1 / (1 + np.exp(-4 * (values - float(film.WindowCenter)) / float(film.WindowWidth)))
    elif "WindowCenter" in film:
        centre, width = float(film.WindowCenter), float(film.WindowWidth)
        grey = ((values - (centre - 0.5)) / (width - 1) + 0.5).clip(0, 1)
    else:
        grey = (values - low) / (2**film.BitsStored - 1)
    return 1 - grey if film.PhotometricInterpretation == "MONOCHROME1" else grey


def test_every_habit_shows_the_drawn_film(root: Path, truth: pd.DataFrame) -> None:
    drawn = {film_path(film): draw(film, OPTIONS.size, OPTIONS.seed)[0] for film in cohort(OPTIONS)}
    films = truth[truth["Kind"] == "film"]
    assert set(films["Habit"]) == set(HABITS)
    for path, habit in films[["Path", "Habit"]].itertuples(index=False):
        film = read(root, path)
        difference = np.abs(shown(film) * 255 - drawn[path])
        if HABITS[habit].padding:
            inside = stored(film) != film.PixelPaddingValue
            assert 0 < inside.mean() < 1
            difference = difference[inside]
        limit = 2.6 if habit == "sigmoid" else 1.0  # a sigmoid has no black and no white
        assert difference.max() <= limit, habit


def test_headers_say_what_the_habit_does(root: Path, truth: pd.DataFrame) -> None:
    for path, name, kind in truth[["Path", "Habit", "Kind"]].itertuples(index=False):
        film, habit = read(root, path), HABITS[name]
        if kind == "film":
            assert film.BitsStored == habit.bits
            assert film.HighBit == habit.bits - 1
            assert film.PixelRepresentation == int(habit.signed)
            assert ("PresentationLUTShape" in film) == habit.shape
            assert ("ViewPosition" in film) == habit.view_tag
            assert ("PixelPaddingValue" in film) == habit.padding
        assert film.Modality == habit.modality
        values = stored(film)
        low = -(2 ** (film.BitsStored - 1)) if film.PixelRepresentation else 0
        assert low <= values.min()
        assert values.max() < low + 2**film.BitsStored


def test_a_companion_is_a_file_of_its_own_and_says_what_it_is(
    root: Path, truth: pd.DataFrame
) -> None:
    companions = truth[truth["Kind"] != "film"]
    assert set(companions["Kind"]) == {"for-processing", "second-rendering"}
    for path, kind in companions[["Path", "Kind"]].itertuples(index=False):
        film, first = read(root, path), read(root, path.removesuffix("X"))
        assert film.SOPInstanceUID != first.SOPInstanceUID
        assert film.StudyInstanceUID == first.StudyInstanceUID
        raw = kind == "for-processing"
        assert film.PresentationIntentType == ("FOR PROCESSING" if raw else "FOR PRESENTATION")
        assert film.ImageType[0] == ("ORIGINAL" if raw else "DERIVED")


def test_identities_are_one_a_patient_and_clearly_drawn(root: Path, truth: pd.DataFrame) -> None:
    rows = []
    for path in truth["Path"]:
        film = read(root, path)
        assert "Phantom" in str(film.PatientName)
        years = (pd.Timestamp(film.StudyDate) - pd.Timestamp(film.PatientBirthDate)).days / 365.25
        assert abs(years - int(film.PatientAge[:3]) - 0.5) <= 0.51
        who = str(film.PatientName), film.PatientBirthDate, film.PatientSex
        rows.append(
            (film.PatientID, *who, film.StudyInstanceUID, film.AccessionNumber, film.SOPInstanceUID)
        )
    table = pd.DataFrame(rows, columns=["id", "name", "birth", "sex", "study", "accession", "film"])
    assert (table.groupby("id")[["name", "birth", "sex"]].nunique() == 1).all(axis=None)
    assert (table.groupby("accession")["study"].nunique() == 1).all()
    assert table["film"].is_unique
    assert list(table["accession"]) == list(truth["AccessionNumber"])


def test_labels_are_one_row_a_study_and_masks_fit_the_truth(
    root: Path, truth: pd.DataFrame
) -> None:
    labels = pd.read_csv(root / "labels.csv")
    assert list(labels.columns) == ["AccessionNumber", *CHEXPERT]
    assert labels["AccessionNumber"].is_unique
    assert set(labels["AccessionNumber"]) == set(truth["AccessionNumber"])
    for row in truth[truth["Kind"] == "film"].to_dict("records"):
        masks = read_masks(root / "masks" / f"{row['Path']}.png")
        assert [bool(masks[name].any()) for name in CHEXPERT[1:]] == [
            row[name] == 1 for name in CHEXPERT[1:]
        ]


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_worker_count_does_not_change_a_byte(root: Path, tmp_path: Path) -> None:
    write_phantoms(tmp_path / "two", OPTIONS, workers=2)
    assert digest(tmp_path / "two") == digest(root)
    assert write_phantoms(root, OPTIONS).already_done


@pytest.mark.parametrize("names", [("signed",), ("rle", "jpeg2000")])
def test_habits_can_be_chosen(names: tuple[str, ...], tmp_path: Path) -> None:
    options = PhantomOptions(count=8, size=32, format="dicom", dicom_habits=names)
    write_phantoms(tmp_path / "some", options)
    assert set(pd.read_csv(tmp_path / "some" / "truth.csv")["Habit"]) <= set(names)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"format": "dcm"}, "unknown format of phantoms 'dcm': allowed are chexpert, dicom"),
        ({"format": "dicom", "dicom_habits": ("jpeg-2000",)}, "Did you mean 'jpeg2000'"),
        ({"dicom_habits": ("signed",)}, "give --format dicom too"),
    ],
)
def test_unknown_names_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        PhantomOptions(**given)  # type: ignore[arg-type]


def test_a_folder_of_jpegs_is_not_taken_for_one_of_dicom(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "set", PhantomOptions(count=2, size=32))
    record = json.loads((tmp_path / "set" / "phantoms.json").read_text("utf-8"))
    assert (
        "format" not in record["options"]
    )  # so that folders of earlier versions stay what they are
    with pytest.raises(OptionError, match="phantoms of other options"):
        write_phantoms(tmp_path / "set", PhantomOptions(count=2, size=32, format="dicom"))
