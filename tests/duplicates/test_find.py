from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.catalog import Catalog, film_table
from hilum.duplicates import Copies, CopyOptions, find_copies
from hilum.duplicates.buckets import REACH
from hilum.errors import OptionError
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.store_writing import write_store
from hilum.phantoms.cohort import cohort
from hilum.phantoms.film import draw
from hilum.phantoms.options import PhantomOptions

SIZE = 64
MANY = 160
"""More than the search looks at pair by pair."""


@pytest.fixture(scope="module")
def phantoms() -> np.ndarray:
    """One film each of MANY patients, uint8 [MANY, SIZE, SIZE]."""
    films = {film.patient: film for film in cohort(PhantomOptions(4 * MANY, SIZE, 0))}
    chosen = list(films.values())[:MANY]
    assert len(chosen) == MANY
    return np.stack([draw(film, SIZE, 0)[0] for film in chosen])


def films_of(folder: Path, *sets: np.ndarray, patients: list[str] | None = None) -> Films:
    stores = []
    for number, images in enumerate(sets):
        named = patients or [f"{number}-{row}" for row in range(len(images))]
        rows = pd.DataFrame(
            {"path": [f"{row}.png" for row in range(len(images))], "patient": named}
        )
        catalog = Catalog(f"set{number}", folder, (), film_table(rows, ()), len(images))
        stores.append(
            write_store(folder / str(number), catalog, images, Preparation(images.shape[1]))
        )
    return Films(stores)


def pairs_of(copies: Copies) -> set[tuple[int, int, str]]:
    columns = (copies.pairs[name] for name in ("first", "second", "kind"))
    return {
        (int(first), int(second), str(kind)) for first, second, kind in zip(*columns, strict=True)
    }


def jpeg(film: np.ndarray) -> np.ndarray:
    return cv2.imdecode(
        cv2.imencode(".jpg", film, (cv2.IMWRITE_JPEG_QUALITY, 30))[1], cv2.IMREAD_GRAYSCALE
    )


def zoomed(film: np.ndarray) -> np.ndarray:
    matrix = np.array([[0.96, 0, 1.26], [0, 0.96, 1.26]], np.float32)
    return cv2.warpAffine(film, matrix, film.shape, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def darker(film: np.ndarray) -> np.ndarray:
    return np.rint(film * 0.9).astype(np.uint8)


@pytest.mark.parametrize("change", [jpeg, zoomed, darker, lambda film: jpeg(darker(zoomed(film)))])
@pytest.mark.parametrize("count", [40, MANY])
def test_altered_films_are_found_in_another_store_and_no_others(
    phantoms: np.ndarray, tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], count: int
) -> None:
    chosen = np.arange(3, count, 9)
    altered = np.stack([change(phantoms[row]) for row in chosen])
    copies = find_copies(films_of(tmp_path, phantoms[:count], altered))
    found, wanted = (
        pairs_of(copies),
        {(int(row), count + place, "near") for place, row in enumerate(chosen)},
    )
    assert found <= wanted
    assert len(found) >= 0.9 * len(wanted)
    assert copies.candidates >= len(wanted)
    assert not copies.pairs["same_patient"].any()


def test_equal_films_are_exact_and_the_first_stands_for_them(
    phantoms: np.ndarray, tmp_path: Path
) -> None:
    images = np.concatenate([phantoms, phantoms[[5, 5]], darker(phantoms[[5]])])
    copies = find_copies(films_of(tmp_path, images))
    assert pairs_of(copies) == {(5, MANY, "exact"), (5, MANY + 1, "exact"), (5, MANY + 2, "near")}
    assert [group.tolist() for group in copies.groups()] == [[5, MANY, MANY + 1, MANY + 2]]
    assert copies.pairs["correlation"].between(0.9, 1).all()


def test_without_near_no_film_is_read(phantoms: np.ndarray, tmp_path: Path) -> None:
    films = films_of(tmp_path, np.concatenate([phantoms[:5], phantoms[[2]], darker(phantoms[[3]])]))
    for shard in (tmp_path / "0").glob("*.npy"):
        shard.unlink()
    copies = find_copies(films, CopyOptions(near=False))
    assert pairs_of(copies) == {(2, 5, "exact")}
    assert copies.candidates == 0


def test_films_of_one_patient_are_held_to_a_stricter_limit(
    phantoms: np.ndarray, tmp_path: Path
) -> None:
    images = np.concatenate([phantoms[:20], jpeg(phantoms[4])[None]])
    other = films_of(tmp_path / "other", images)
    same = films_of(tmp_path / "same", images, patients=[*map(str, range(20)), "4"])
    assert pairs_of(find_copies(other)) == {(4, 20, "near")}
    assert not len(find_copies(same, CopyOptions(same_patient=0.9999)).pairs)
    loose = find_copies(same, CopyOptions(same_patient=0.9))
    assert pairs_of(loose) == {(4, 20, "near")}
    assert loose.pairs["same_patient"].all()


def test_blank_films_are_no_copies_of_each_other(phantoms: np.ndarray, tmp_path: Path) -> None:
    blank = np.full((3, SIZE, SIZE), 7, np.uint8)
    assert not len(find_copies(films_of(tmp_path, np.concatenate([phantoms[:10], blank]))).pairs)
    assert not len(
        find_copies(films_of(tmp_path / "more", np.concatenate([phantoms, blank]))).pairs
    )


def test_hundreds_of_blank_films_are_no_crowd_of_films_that_are_alike(
    phantoms: np.ndarray, tmp_path: Path
) -> None:
    blank = np.full((REACH + 50, SIZE, SIZE), 7, np.uint8)
    copies = find_copies(
        films_of(tmp_path, np.concatenate([blank, phantoms, darker(phantoms[[4]])]))
    )
    assert pairs_of(copies) == {(len(blank) + 4, len(blank) + MANY, "near")}
    assert copies.notes == ()
    assert not len(find_copies(films_of(tmp_path / "alone", blank)).pairs)


@pytest.mark.parametrize("count", [1, 2])
def test_few_films_are_no_trouble(phantoms: np.ndarray, tmp_path: Path, count: int) -> None:
    copies = find_copies(films_of(tmp_path, phantoms[:count]))
    assert (copies.films, len(copies.pairs), copies.groups()) == (count, 0, [])
    assert list(copies.pairs.columns) == ["first", "second", "kind", "correlation", "same_patient"]


def test_the_same_films_give_the_same_copies(phantoms: np.ndarray, tmp_path: Path) -> None:
    films = films_of(tmp_path, np.concatenate([phantoms, jpeg(phantoms[9])[None]]))
    pd.testing.assert_frame_equal(find_copies(films).pairs, find_copies(films).pairs)


@pytest.mark.parametrize(
    "limits", [{"correlation": 0.0}, {"correlation": 1.0}, {"same_patient": 1.5}]
)
def test_limits_that_are_no_correlations_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="give a number above 0 and below 1"):
        CopyOptions(**limits)
