"""Stores and several of them as one: what is written is read, what was changed is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.catalog import Catalog, film_table
from hilum.errors import DataError
from hilum.files import sha256, write_hashed_json
from hilum.images.enhance import Preparation, pixel_hash
from hilum.images.films import Films
from hilum.images.store import CATALOG, CATALOG_HASH, MANIFEST, Store
from hilum.images.store_writing import FAILURES, shard_name, write_manifest, write_store


def images(films: int, seed: int = 0, size: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (films, size, size)).astype(np.uint8)


def catalog(
    films: int, source: str = "here", findings: tuple[str, ...] = ("Edema", "Hernia")
) -> Catalog:
    rows = {
        "path": [f"{number}.png" for number in range(films)],
        "patient": [f"p{number // 3}" for number in range(films)],
        "study": [f"p{number // 3}-s{number // 2}" for number in range(films)],
        **{
            finding: [(number + place) % 2 for number in range(films)]
            for place, finding in enumerate(findings)
        },
    }
    return Catalog(
        source, Path("/nowhere"), findings, film_table(pd.DataFrame(rows), findings), films
    )


def made(folder: Path, films: int = 12, seed: int = 0, size: int = 16, **options: object) -> Store:
    return write_store(
        folder, catalog(films, **options), images(films, seed, size), Preparation(size)
    )  # type: ignore[arg-type]


def test_a_store_gives_back_what_was_written(tmp_path: Path) -> None:
    store = made(tmp_path / "a")
    rows = np.array([11, 0, 5, 5])
    assert np.array_equal(store.read(rows), images(12)[rows])
    assert store.read(np.array([], int)).shape == (0, 16, 16)
    assert (len(store), store.source, store.findings) == (12, "here", ("Edema", "Hernia"))
    assert store.labels.dtype == np.float32
    assert store.labels[:2].tolist() == [[0, 1], [1, 0]]
    assert store.catalog["pixels"][3] == pixel_hash(images(12)[3])
    assert store.manifest["rows_read"] == store.manifest["rows_kept"] == 12
    store.verify()


def test_equal_stores_have_equal_bytes_and_fingerprints(tmp_path: Path) -> None:
    a, b = made(tmp_path / "a"), made(tmp_path / "b")
    assert a.fingerprint == b.fingerprint
    for name in (shard_name(0), CATALOG, MANIFEST, FAILURES):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert made(tmp_path / "c", seed=1).fingerprint != a.fingerprint
    assert made(tmp_path / "d", findings=("Edema", "Mass")).fingerprint != a.fingerprint


def test_original_sizes_are_kept_and_unknown_in_older_stores(tmp_path: Path) -> None:
    sizes = [(number + 20, number + 30) for number in range(11)]
    store = write_store(tmp_path / "a", catalog(12), images(12), Preparation(16), [*sizes, None])
    assert store.catalog["height"].tolist()[:2] == [20, 21]
    assert store.catalog["width"].isna().tolist() == [False] * 11 + [True]
    fingerprint, columns = (
        store.fingerprint,
        list(Films([store]).catalog),
    )  # before its file changes
    older = pd.read_parquet(tmp_path / "a" / CATALOG).drop(columns=["height", "width"])
    older.to_parquet(tmp_path / "a" / CATALOG, index=False)
    again(tmp_path / "a")
    opened = Store.open(tmp_path / "a")
    assert opened.catalog[["height", "width"]].isna().all(axis=None)
    assert opened.fingerprint == fingerprint
    assert list(Films([opened]).catalog) == columns


def again(store: Path) -> None:
    """Hash a table anew that a test has changed."""
    write_manifest(store, json.loads((store / MANIFEST).read_bytes()))


@pytest.mark.parametrize("row", [-1, 12])
def test_rows_out_of_range_are_refused(tmp_path: Path, row: int) -> None:
    store = made(tmp_path)
    with pytest.raises(IndexError):
        store.read(np.array([0, row]))


def break_shard(folder: Path) -> None:
    (folder / shard_name(0)).write_bytes(b"short")


def lose_shard(folder: Path) -> None:
    (folder / shard_name(0)).unlink()


def break_table(folder: Path) -> None:
    (folder / CATALOG).write_bytes(b"no parquet")


def lose_table(folder: Path) -> None:
    (folder / CATALOG).unlink()


def other_table(folder: Path) -> None:
    pd.DataFrame({"path": ["x"]}).to_parquet(folder / CATALOG)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    write_hashed_json(folder / MANIFEST, {**manifest, CATALOG_HASH: sha256(folder / CATALOG)})


def lose_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def break_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_text("{")


def empty_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_text("{}")


def newer_manifest(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    write_hashed_json(folder / MANIFEST, {**manifest, "format": 99})


@pytest.mark.parametrize(
    "harm",
    [
        break_shard,
        lose_shard,
        break_table,
        lose_table,
        other_table,
        lose_manifest,
        break_manifest,
        empty_manifest,
        newer_manifest,
    ],
)
def test_a_harmed_store_is_refused_in_one_line_with_the_remedy(
    tmp_path: Path, harm: object
) -> None:
    made(tmp_path)
    harm(tmp_path)  # type: ignore[operator]
    with pytest.raises(DataError, match="prepare") as caught:
        Store.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_changed_pixel_is_found_by_verify(tmp_path: Path) -> None:
    store = made(tmp_path)
    data = bytearray((tmp_path / shard_name(0)).read_bytes())
    data[-1] ^= 1
    (tmp_path / shard_name(0)).write_bytes(data)
    with pytest.raises(DataError, match="is not what was written"):
        store.verify()


def test_several_stores_are_one_pile(tmp_path: Path) -> None:
    a = made(tmp_path / "a", 7, source="nih14")
    b = made(tmp_path / "b", 5, 1, source="chexpert", findings=("Hernia", "Fracture"))
    films = Films.open([a.folder, b.folder])
    assert len(films) == 12
    assert films.findings == ("Edema", "Hernia", "Fracture")
    rows = np.array([8, 0, 11, 6, 7])
    assert np.array_equal(films.read(rows), np.concatenate([images(7), images(5, 1)])[rows])
    assert np.isnan(films.labels[:7, 2]).all()
    assert np.isnan(films.labels[7:, 0]).all()
    assert np.array_equal(films.labels[7:, 1:], b.labels)
    assert (
        films.labelled_by_source.tolist() == [[True, True, False]] * 7 + [[False, True, True]] * 5
    )
    assert films.starts.tolist() == [0, 7, 12]
    with pytest.raises(IndexError):
        films.read(np.array([12]))


def test_labels_of_a_store_given_as_unlabelled_are_not_looked_at(tmp_path: Path) -> None:
    first = made(tmp_path / "a", findings=("Edema", "Mass"))
    made(tmp_path / "b", films=6, source="there", seed=1, findings=("Edema", "Hernia"))
    films = Films.open([tmp_path / "a"], [tmp_path / "b"])
    assert films.findings == ("Edema", "Mass")
    assert np.array_equal(films.labels[:12], first.labels)
    assert np.isnan(films.labels[12:]).all()
    assert films.labelled_by_source.any(axis=1).tolist() == [True] * 12 + [False] * 6
    assert films.sources == ("here", "there")


def test_patients_of_two_sources_are_not_confused(tmp_path: Path) -> None:
    folders = [
        made(tmp_path / name, 6, seed, source=name).folder
        for seed, name in enumerate(("nih14", "chexpert"))
    ]
    films = Films.open(folders)
    assert list(films.catalog["patient"].unique()) == [
        "nih14:p0",
        "nih14:p1",
        "chexpert:p0",
        "chexpert:p1",
    ]
    assert films.patient_codes.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert films.study_codes.max() + 1 == 8
    assert films.catalog["source"].tolist() == ["nih14"] * 6 + ["chexpert"] * 6
    # One store alone gives its patients the same names.
    assert (
        Films.open(folders[:1]).catalog["patient"].tolist() == films.catalog["patient"].tolist()[:6]
    )


def test_two_stores_of_one_source_are_told_apart(tmp_path: Path) -> None:
    films = Films([made(tmp_path / "a", seed=0), made(tmp_path / "b", seed=1)])
    assert len(set(films.sources)) == 2
    assert all(name.startswith("here@") for name in films.sources)
    assert not set(films.catalog["patient"][:12]) & set(films.catalog["patient"][12:])


def test_two_stores_of_one_data_set_share_their_patients_and_films_keep_their_source(
    tmp_path: Path,
) -> None:
    given = catalog(12)
    halves = [
        Catalog(
            "here", Path("/nowhere"), given.findings, given.table[rows].reset_index(drop=True), 6
        )
        for rows in (slice(0, 6), slice(6, 12))
    ]
    folders = [tmp_path / "a", tmp_path / "b"]
    films = Films(
        [
            write_store(f, half, images(6, n), Preparation(16))
            for n, (f, half) in enumerate(zip(folders, halves, strict=True))
        ]
    )
    assert films.catalog["patient"].tolist() == [f"here:p{number // 3}" for number in range(12)]
    assert films.catalog["source"].tolist() == ["here"] * 12
    assert len(set(films.sources)) == 2


def test_a_study_that_is_not_named_is_one_of_its_own(tmp_path: Path) -> None:
    given = catalog(4)
    given.table["study"] = pd.array(["s", None, None, "s"], dtype="string")
    films = Films([write_store(tmp_path, given, images(4), Preparation(16))])
    assert len(set(films.study_codes.tolist())) == 3
    assert films.study_codes[0] == films.study_codes[3]


def test_stores_prepared_differently_are_refused(tmp_path: Path) -> None:
    stores = [made(tmp_path / "a"), made(tmp_path / "b", size=24)]
    with pytest.raises(DataError, match=r"--size 16 .* --size 24 .*prepare one"):
        Films(stores)


def test_a_store_given_twice_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "a")
    made(tmp_path / "b")
    with pytest.raises(DataError, match="same store"):
        Films.open([tmp_path / "a", tmp_path / "b"])


def copied(folder: Path, pictures: list[int], patients: list[str], source: str = "here") -> Store:
    """Write a store of one film a patient; equal numbers are equal pictures, -1 is a black film."""
    rows = {"path": [f"{n}.png" for n in range(len(pictures))], "patient": patients}
    rows["study"] = rows["path"]
    rows["Edema"] = [n % 2 for n in range(len(pictures))]
    table = film_table(pd.DataFrame(rows), ("Edema",))
    films = Catalog(source, Path("/nowhere"), ("Edema",), table, len(pictures))
    black = np.zeros((16, 16), np.uint8)
    stack = [black if number < 0 else images(1, number + 1)[0] for number in pictures]
    return write_store(folder, films, np.stack(stack), Preparation(16))


@pytest.mark.parametrize(
    ("pictures", "patients", "people"),
    [
        ([0, 1, 2, 0, 1, 2], list("abcdef"), 3),  # an archive that holds itself twice
        ([0, 0, 1, 1], list("abbc"), 1),  # linked by way of one in the middle
        ([0, 1, 0, 1], list("abab"), 2),  # copies of one patient change nothing
        ([-1, -1, -1, 0], list("abcd"), 4),  # blank films are equal without being copies
        ([0, 1, 2, 3], list("abcd"), 4),
    ],
)
def test_patients_with_a_picture_in_common_count_as_one(
    tmp_path: Path, pictures: list[int], patients: list[str], people: int
) -> None:
    films = Films([copied(tmp_path / "s", pictures, patients)])
    assert len(np.unique(films.patient_codes)) == people
    assert len(np.unique(films.named_patients)) == len(set(patients))


def test_copies_in_two_stores_of_one_run_are_one_patient(tmp_path: Path) -> None:
    stores = [
        copied(tmp_path / name, numbers, list("xyz"), source=name)
        for name, numbers in (("one", [0, 1, 2]), ("two", [2, 3, 4]))
    ]
    films = Films(stores)
    assert films.patient_codes[2] == films.patient_codes[3]
    assert len(np.unique(films.patient_codes)) == 5
