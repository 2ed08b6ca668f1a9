"""The films a model has seen: the fast comparison is that of each film's name and pixels with all."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.bundle.training_manifest import joined, seen_films, were_seen
from hilum.images.equal_pixels import blank_hashes, equal_pixels

BLANKS = sorted(blank_hashes(4))[:3]
PIXELS = [hashlib.sha256(bytes([number])).hexdigest()[:32] for number in range(6)] + BLANKS


def films() -> st.SearchStrategy[pd.DataFrame]:
    """Return catalogues of films, some of one name, some of equal pixels, some of one grey."""
    film = st.tuples(
        st.sampled_from(["set", "other"]),
        st.sampled_from([f"é{number}.png" for number in range(8)]),
        st.sampled_from(PIXELS),
    )
    return st.lists(film, min_size=1, max_size=25).map(
        lambda rows: pd.DataFrame(rows, columns=["source", "path", "pixels"]).astype("string")
    )


def slow_hash(source: str, path: str) -> str:
    return hashlib.sha256(f"{source}/{path}".encode()).hexdigest()[:32]


@settings(max_examples=150, deadline=None)
@given(catalog=films(), trained=films(), some=st.integers(0, 25))
def test_films_are_seen_by_name_or_by_pixels_that_are_no_blank(
    catalog: pd.DataFrame, trained: pd.DataFrame, some: int
) -> None:
    seen = seen_films(trained.iloc[:some])
    names = [slow_hash(row.source, row.path) for row in trained.iloc[:some].itertuples()]
    assert seen["name"].tolist() == names
    assert seen["pixels"].tolist() == trained["pixels"].iloc[:some].tolist()
    assert [str(kind) for kind in seen.dtypes] == ["string", "string"]
    expected = [
        slow_hash(row.source, row.path) in names
        or (row.pixels in set(seen["pixels"]) and row.pixels not in BLANKS)
        for row in catalog.itertuples()
    ]
    assert were_seen(catalog, seen, 4).tolist() == expected
    assert were_seen(catalog.set_axis(catalog.index[::-1]), seen, 4).tolist() == expected


@settings(max_examples=100, deadline=None)
@given(first=films(), second=films())
def test_tables_are_joined_as_sorting_their_distinct_rows_does(
    first: pd.DataFrame, second: pd.DataFrame
) -> None:
    tables = [seen_films(first), seen_films(second)]
    slow = pd.concat(tables, ignore_index=True).drop_duplicates()
    slow = slow.sort_values(["name", "pixels"], ignore_index=True)
    pd.testing.assert_frame_equal(joined(*tables), slow)


@settings(max_examples=150, deadline=None)
@given(
    pixels=st.lists(
        st.sampled_from([*PIXELS, PIXELS[0][:8] + "0" * 24, *(["", "01", "02"])]), max_size=30
    )
)
def test_equal_pixels_are_those_of_comparing_each_with_the_first_of_its_kind(
    pixels: list[str],
) -> None:
    first: dict[str, int] = {}
    expected = [
        [first[text], row]
        for row, text in enumerate(pixels)
        if first.setdefault(text, row) != row and text not in BLANKS
    ]
    pairs = equal_pixels(pd.Series(pixels, dtype="string"), 4)
    assert pairs.dtype == np.int64
    assert pairs.tolist() == expected
    hashes = [text for text in pixels if len(text) == 32]
    rows = [row for row, text in enumerate(pixels) if len(text) == 32]
    numbers = {row: number for number, row in enumerate(rows)}
    of_hashes = [[numbers[a], numbers[b]] for a, b in expected if a in numbers]
    assert equal_pixels(pd.Series(hashes, dtype="string"), 4).tolist() == of_hashes
