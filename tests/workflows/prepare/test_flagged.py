"""Films that look inverted or turned: told, counted and listed by prepare, and inverted back where asked."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from heard import Heard

from hilum.catalog import Catalog, film_table
from hilum.errors import RunError
from hilum.images.enhance import Preparation
from hilum.images.store import MANIFEST, Store
from hilum.images.store_writing import FLAGGED
from hilum.phantoms import PhantomOptions
from hilum.phantoms.cohort import cohort
from hilum.phantoms.film import draw
from hilum.workflows.prepare.prepare import PrepareOptions, prepare

CHANGES = {
    "03": ("inverted", lambda film: 255 - film),
    "07": ("upside down", lambda film: film[::-1, ::-1]),
    "11": ("turned to the left", np.rot90),
    "12": ("inverted and turned to the right", lambda film: np.rot90(255 - film, -1)),
}


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    """16 frontal films, uint8 [112, 112]."""
    options = PhantomOptions(count=60, size=112, seed=5)
    frontal = [film for film in cohort(options) if film.position != "LATERAL"]
    return {f"{number:02d}": draw(film, 112, 5)[0] for number, film in enumerate(frontal[:16])}


@pytest.fixture
def films(tmp_path: Path, drawn: dict[str, np.ndarray]) -> Path:
    """The films as files, PNG and JPEG, four of them inverted or turned; and one that cannot be read."""
    root = tmp_path / "films"
    root.mkdir()
    for name, film in drawn.items():
        shown = CHANGES[name][1](film) if name in CHANGES else film
        cv2.imwrite(
            str(root / f"{name}.{'jpg' if int(name) % 2 else 'png'}"), np.ascontiguousarray(shown)
        )
    (root / "05b.png").write_bytes(b"no film")
    return root


def catalog_of(root: Path) -> Catalog:
    paths = sorted(file.name for file in root.iterdir())
    table = film_table(pd.DataFrame({"path": paths, "patient": paths, "Edema": np.nan}), ("Edema",))
    return Catalog("here", root, ("Edema",), table, len(paths))


def content(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir() if path.is_file()}


def test_they_are_counted_and_listed(films: Path, tmp_path: Path) -> None:
    heard = Heard()
    result = prepare(catalog_of(films), tmp_path / "store", PrepareOptions(64, workers=1), heard)
    expected = {name: flag for name, (flag, _) in CHANGES.items()}
    assert result.flagged == dict.fromkeys(expected.values(), 1)
    assert any(FLAGGED in note for note in heard.notes)
    listed = pd.read_csv(tmp_path / "store" / FLAGGED, keep_default_na=False)
    assert list(listed.columns) == ["row", "path", "looks_like", "done"]
    assert {
        path[:2]: flag for path, flag in zip(listed["path"], listed["looks_like"], strict=True)
    } == expected
    assert set(listed["done"]) == {""}
    store = Store.open(tmp_path / "store")
    assert list(store.catalog["path"].iloc[listed["row"]]) == list(
        listed["path"]
    )  # after a film that failed
    assert store.manifest["flagged"] == result.flagged
    told = {row: flag for row, flag in enumerate(store.flags()) if flag}
    assert told == dict(zip(listed["row"], listed["looks_like"], strict=True))
    again = prepare(catalog_of(films), tmp_path / "store", PrepareOptions(64))
    assert (again.already_done, again.flagged) == (True, result.flagged)


def test_workers_and_shards_change_no_byte(films: Path, tmp_path: Path) -> None:
    one, several = tmp_path / "one", tmp_path / "several"
    prepare(catalog_of(films), one, PrepareOptions(64, workers=1), films_a_shard=5)
    prepare(catalog_of(films), several, PrepareOptions(64, workers=3), films_a_shard=5)
    assert content(one) == content(several)


def test_nothing_is_listed_where_all_are_right(films: Path, tmp_path: Path) -> None:
    for name in CHANGES:
        next(films.glob(f"{name}.*")).unlink()
    result = prepare(catalog_of(films), tmp_path / "store", PrepareOptions(64, workers=1))
    assert result.flagged == {}
    assert not (tmp_path / "store" / FLAGGED).exists()
    store = Store.open(tmp_path / "store")
    assert (store.manifest["flagged"], set(store.flags())) == ({}, {""})
    del store.manifest["flagged"]  # as in stores of earlier versions
    assert store.flags() == [""] * len(store)


def test_an_inverted_film_is_inverted_back_before_it_is_enhanced(
    films: Path, drawn: dict[str, np.ndarray], tmp_path: Path
) -> None:
    options = PrepareOptions(64, "clahe", workers=1, fix_polarity=True)
    result = prepare(catalog_of(films), tmp_path / "store", options)
    assert result.flagged["inverted"] == 1
    store = Store.open(tmp_path / "store")
    listed = pd.read_csv(tmp_path / "store" / FLAGGED, keep_default_na=False)
    done = dict(zip(listed["path"].str[:2], listed["done"], strict=True))
    assert done == {"03": "inverted back", "07": "", "11": "", "12": "inverted back"}
    plain = Preparation(64, "clahe")
    rows = store.catalog["path"].str[:2].tolist()
    for name, back in (("03", drawn["03"]), ("12", np.rot90(drawn["12"], -1))):
        stored = store.read(np.array([rows.index(name)]))[0].astype(int)
        wanted = plain.apply(np.ascontiguousarray(back)).astype(int)
        assert np.abs(stored - wanted).mean() < (6 if name == "03" else 0.01)  # 03 is a JPEG
    assert store.preparation.fix_polarity
    assert (
        json.loads((tmp_path / "store" / MANIFEST).read_text())["preparation"]["fix_polarity"]
        is True
    )


@pytest.mark.parametrize("first", [True, False])
def test_a_store_is_not_continued_with_the_other_choice(
    films: Path, tmp_path: Path, first: bool
) -> None:
    prepare(
        catalog_of(films), tmp_path / "store", PrepareOptions(64, workers=1, fix_polarity=first)
    )
    with pytest.raises(RunError, match="fix_polarity"):
        prepare(catalog_of(films), tmp_path / "store", PrepareOptions(64, fix_polarity=not first))


def test_stores_of_other_polarity_do_not_mix(films: Path, tmp_path: Path) -> None:
    from hilum.errors import DataError
    from hilum.images.films import Films

    for fix in (True, False):
        prepare(
            catalog_of(films), tmp_path / f"{fix}", PrepareOptions(64, workers=1, fix_polarity=fix)
        )
    with pytest.raises(DataError, match="--fix-polarity"):
        Films.open([tmp_path / "True", tmp_path / "False"])


def test_of_two_dicom_films_of_opposite_tags_the_one_that_lies_is_flagged(tmp_path: Path) -> None:
    import pydicom

    from hilum.phantoms import write_phantoms
    from hilum.sources import read_source

    options = PhantomOptions(12, 96, 2, format="dicom", dicom_habits=("plain",))
    write_phantoms(tmp_path / "archive", options)
    root = tmp_path / "archive" / "dicom"
    first = next(
        path for path in sorted(root.rglob("IM*")) if pydicom.dcmread(path).ViewPosition != "LL"
    )
    for path in root.rglob("IM*"):
        if path != first:
            path.unlink()
    film = pydicom.dcmread(first)
    film.PhotometricInterpretation, film.PresentationLUTShape = "MONOCHROME1", "INVERSE"
    film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = "2.25.77"
    film.save_as(first.with_name("IM9999"))
    archive = read_source("dicom", root)
    result = prepare(archive, tmp_path / "store", PrepareOptions(64, workers=1))
    assert (result.rows_kept, result.flagged) == (2, {"inverted": 1})
    store = Store.open(tmp_path / "store")
    one, other = store.read(np.arange(2)).astype(int)
    assert np.array_equal(one, 255 - other)
    mended = prepare(archive, tmp_path / "mended", PrepareOptions(64, workers=1, fix_polarity=True))
    assert mended.flagged == {"inverted": 1}
    one, other = Store.open(tmp_path / "mended").read(np.arange(2))
    assert np.array_equal(one, other)
    listed = (tmp_path / "mended" / FLAGGED).read_text("utf-8")
    assert "IM9999" not in listed  # a pseudonym stands for the path
    assert "inverted back" in listed
