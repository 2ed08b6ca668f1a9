from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hilum.errors import DataError, HilumError, OptionError
from hilum.findings import NIH14
from hilum.images.npz import read_npz_film
from hilum.sources import read_source

CLASSES = {
    part: np.arange(films).reshape(-1, 1) % 4
    for part, films in {"train": 9, "val": 4, "test": 5}.items()
}


def classes(most: int = 4) -> dict[str, np.ndarray]:
    """Labels of the three parts that are numbers of classes below ``most``."""
    return {
        f"{part}_labels": np.minimum(found, most - 1).astype(np.uint8)
        for part, found in CLASSES.items()
    }


def line_of(error: pytest.ExceptionInfo[HilumError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 700
    return text


def test_chest_films_have_nihs_findings_and_the_published_parts(medmnist: Any) -> None:
    file = medmnist()
    catalog = read_source("medmnist", file)
    table, arrays = catalog.table, np.load(file)
    assert catalog.findings == NIH14
    assert table["part"].tolist() == ["train"] * 9 + ["val"] * 4 + ["test"] * 5
    assert table["path"].tolist()[8:10] == ["chestmnist_64.npz#train/8", "chestmnist_64.npz#val/0"]
    wanted = np.concatenate([arrays[f"{part}_labels"] for part in ("train", "val", "test")])
    np.testing.assert_array_equal(catalog.labels(), wanted)
    assert catalog.root == file.parent
    assert read_source("medmnist", file.parent).table.equals(table)


def test_every_film_is_a_patient_and_the_notes_say_so(medmnist: Any) -> None:
    catalog = read_source("medmnist", medmnist())
    assert catalog.table["patient"].nunique() == catalog.table["study"].nunique() == 18
    notes = " | ".join(catalog.notes)
    for words in (
        "no patients",
        "the published ones",
        "8 x 8 pixels",
        "NIH ChestX-ray14: do not train on one",
    ):
        assert words in notes


def test_of_pneumonia_or_normal_one_finding_is_left(medmnist: Any) -> None:
    catalog = read_source("medmnist", medmnist("pneumoniamnist_224", **classes(2)))
    assert catalog.findings == ("Pneumonia",)
    assert catalog.labels()[:4, 0].tolist() == [0, 1, 1, 1]
    assert "Kermany" in " ".join(catalog.notes)


def test_classes_become_columns_of_which_one_is_present(medmnist: Any) -> None:
    catalog = read_source("medmnist", medmnist("octmnist", **classes()))
    assert catalog.findings == ("class 0", "class 1", "class 2", "class 3")
    assert any("give --findings" in note for note in catalog.notes)
    np.testing.assert_array_equal(catalog.labels()[:5].argmax(axis=1), [0, 1, 2, 3, 0])
    assert (catalog.labels().sum(axis=1) == 1).all()


@pytest.mark.parametrize(
    ("most", "given", "found"),
    [
        (4, ("A", "oedema", "C", "D"), ("A", "Edema", "C", "D")),
        (2, ("Malignant", "Benign"), ("Malignant", "Benign")),
        (2, ("Benign",), ("Benign",)),
        (2, (), ("class 1",)),
        (
            3,
            ("A", "B", "C", "of which the file has none"),
            ("A", "B", "C", "of which the file has none"),
        ),
    ],
)
def test_findings_can_be_named(
    medmnist: Any, most: int, given: tuple[str, ...], found: tuple[str, ...]
) -> None:
    catalog = read_source("medmnist", medmnist("some", **classes(most)), findings=given)
    assert catalog.findings == found
    one = CLASSES["train"][:, 0].clip(max=most - 1) == 1
    np.testing.assert_array_equal(catalog.labels()[:9, min(1, len(found) - 1)], one)


def test_labels_may_be_flat_and_parts_missing(medmnist: Any) -> None:
    labels = np.int64([0, 1, 1, 0, 1, 0, 0, 0, 1])
    without = dict.fromkeys(("val_images", "val_labels", "test_images", "test_labels"))
    catalog = read_source("medmnist", medmnist("pneumoniamnist", train_labels=labels, **without))
    assert catalog.labels()[:, 0].tolist() == labels.tolist()
    assert "the file has no split val, test" in catalog.notes


def test_the_set_can_be_named(medmnist: Any) -> None:
    assert read_source("medmnist", medmnist(), dataset="chest / small").source == "chest-small"


FILMS = np.zeros((9, 8, 8), np.uint8)
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "objects": ({"train_images": np.array([[[{}]]], object)}, r"train_images is of the type '\|O'"),
    "labels that are objects": (
        {"train_labels": np.array([[{}]] * 9, object)},
        "train_labels is of the type",
    ),
    "no films": (
        {"train_images": None, "val_images": None, "test_images": None},
        "looked for train_images.*has 'train_labels'",
    ),
    "no labels": ({"val_labels": None}, "the archive has no array 'val_labels'"),
    "labels of others": (
        {"val_labels": np.zeros((5, 14), np.uint8)},
        r"val_labels is uint8 \[5, 14\].*are 4 films",
    ),
    "a cube of labels": ({"val_labels": np.zeros((4, 1, 1), np.uint8)}, r"uint8 \[4, 1, 1\]"),
    "no label a film": ({"val_labels": np.zeros((4, 0), np.uint8)}, r"uint8 \[4, 0\]"),
    "other labels elsewhere": (
        {"val_labels": np.zeros((4, 13), np.uint8)},
        "different numbers of labels",
    ),
    "volumes": (
        {"train_images": np.zeros((9, 8, 8, 8), np.uint8)},
        r"uint8 \[9, 8, 8, 8\], allowed.*flat",
    ),
    "floats": ({"train_images": FILMS.astype(np.float32)}, "train_images is float32"),
    "wide numbers": ({"train_images": FILMS.astype(np.uint16)}, r"uint16 \[9, 8, 8\], allowed"),
    "a label of neither": (
        {"val_labels": np.full((4, 14), 2, np.uint8)},
        "label 2: allowed are 0 to 1",
    ),
    "a negative label": (
        {"val_labels": np.full((4, 14), -1, np.int8)},
        "label -1: allowed are 0 to 1",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_file_that_is_no_set(medmnist: Any, mistake: str) -> None:
    arrays, words = MISTAKES[mistake]
    file = medmnist(**arrays)
    with pytest.raises(DataError, match=words) as error:
        read_source("medmnist", file)
    assert str(file) in line_of(error) or "label" in line_of(error)


OPTION_MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "too few": (("A", "B"), "names 2 findings, the file has 4: give --findings with 4 names"),
    "twice": (("A", "B", "Effusion", "Pleural Effusion"), "give every finding a name of its own"),
    "empty": (("A", " ", "C", "D"), "a name of its own"),
    "reserved": (("A", "age", "C", "D"), "finding 'age' has a name that the catalogue uses"),
}


@pytest.mark.parametrize("mistake", OPTION_MISTAKES)
def test_findings_that_do_not_fit(medmnist: Any, mistake: str) -> None:
    findings, words = OPTION_MISTAKES[mistake]
    with pytest.raises(OptionError, match=words) as error:
        read_source("medmnist", medmnist("octmnist", **classes()), findings=findings)
    line_of(error)


def test_a_known_set_with_other_labels_is_refused(medmnist: Any) -> None:
    with pytest.raises(OptionError, match="chestmnist should have 14 findings, the file has 3"):
        read_source("medmnist", medmnist(labels=3))


def test_two_sizes_in_one_folder_need_the_file(medmnist: Any) -> None:
    for name in ("chestmnist", "chestmnist_64"):
        file = medmnist(name)
    with pytest.raises(
        DataError, match=r"several sets or sizes \(chestmnist.npz, chestmnist_64.npz\)"
    ) as error:
        read_source("medmnist", file.parent)
    line_of(error)
    assert len(read_source("medmnist", file).table) == 18


def test_a_film_damaged_in_the_archive_is_found_before_anything_is_written(medmnist: Any) -> None:
    file = medmnist()
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        content[archive.getinfo("test_images.npy").header_offset + 200] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged.*Is the download complete\?") as error:
        read_source("medmnist", file)
    line_of(error)


def packed(**shapes: tuple[int, ...]) -> bytes:
    """An archive of black arrays, which are small however large they claim to be."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, shape in shapes.items():
            array = io.BytesIO()
            np.lib.format.write_array(array, np.zeros(shape, np.uint8), allow_pickle=False)
            archive.writestr(f"{name}.npy", array.getvalue())
    return buffer.getvalue()


BOMBS: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "films": (
        {"train_images": (2_000_001, 1, 1)},
        "claims 2000001 films of 2000001 bytes, at most 2000000",
    ),
    "labels": (
        {"train_images": (200_000, 1, 1), "train_labels": (200_000, 101)},
        "has 20200000 labels of films, at most 20000000",
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_more_than_any_set_has_is_refused_unread(tmp_path: Path, bomb: str) -> None:
    shapes, words = BOMBS[bomb]
    (tmp_path / "chestmnist.npz").write_bytes(packed(**shapes))
    with pytest.raises(DataError, match=words) as error:
        read_source("medmnist", tmp_path / "chestmnist.npz")
    line_of(error)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 100_000), junk=st.binary(max_size=6), cut=st.integers(0, 12))
def test_mutated_archives_are_read_or_refused_in_one_line(
    medmnist: Any, place: int, junk: bytes, cut: int
) -> None:
    file = medmnist()
    content = file.read_bytes()
    place %= len(content)
    file.write_bytes(content[:place] + junk + content[place + cut :])
    refusal = ""
    try:
        catalog = read_source("medmnist", file)
        assert catalog.rows_read == len(catalog.table)
    except HilumError as error:
        refusal = str(error)
    assert "\n" not in refusal


@pytest.mark.parametrize("name", ["chestmnist_64 (1)", "ChestMNIST_64(2)", "chestmnist_64 - Copy"])
def test_a_second_copys_name_is_the_sets(medmnist: Any, name: str) -> None:
    catalog = read_source("medmnist", medmnist(name))
    assert catalog.source.lower() == "chestmnist_64"
    assert len(catalog.findings) == 14


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_one_channel_and_float_labels_read_as_the_plain_arrays(medmnist: Any, kind: type) -> None:
    plain = medmnist()
    with np.load(plain) as file:
        arrays = {
            name: array[..., None] if name.endswith("images") else array.astype(kind)
            for name, array in file.items()
        }
    before = read_source("medmnist", plain).table
    film = read_npz_film(plain.parent / before["path"][3])
    other = medmnist(**arrays)
    after = read_source("medmnist", other).table
    assert after.equals(before)
    np.testing.assert_array_equal(read_npz_film(other.parent / after["path"][3]), film)


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1e30])
def test_float_labels_that_are_no_labels_are_refused(medmnist: Any, value: float) -> None:
    with pytest.raises(DataError, match=r"no labels|a label above"):
        read_source("medmnist", medmnist(train_labels=np.full((9, 14), value)))
