"""The films a model has seen: the fast comparison is that of each film's name and pixels with all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.bundle.training_manifest import joined, key_notes, seen_films, were_seen
from hilum.group_key import GroupKey
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


KEY, OTHER = (GroupKey(bytes([number]) * 32, Path(f"{number}.key")) for number in (1, 2))


def keyed(kind: str, text: str) -> str:
    return hashlib.blake2b(
        text.encode(), digest_size=16, key=KEY.secret, person=kind.encode()
    ).hexdigest()


def slow_hash(source: str, path: str) -> str:
    return keyed("film", f"{source}/{path}")


@settings(max_examples=150, deadline=None)
@given(catalog=films(), trained=films(), some=st.integers(0, 25))
def test_films_are_seen_by_name_or_by_pixels_that_are_no_blank(
    catalog: pd.DataFrame, trained: pd.DataFrame, some: int
) -> None:
    seen = seen_films(trained.iloc[:some], KEY)
    names = [slow_hash(row.source, row.path) for row in trained.iloc[:some].itertuples()]
    assert seen["name"].tolist() == names
    assert seen["pixels"].tolist() == [keyed("pixels", text) for text in trained["pixels"][:some]]
    assert [str(kind) for kind in seen.dtypes] == ["string"] * 3
    expected = [
        slow_hash(row.source, row.path) in names
        or (row.pixels in set(trained["pixels"][:some]) and row.pixels not in BLANKS)
        for row in catalog.itertuples()
    ]
    assert were_seen(catalog, seen, 4, KEY).tolist() == expected
    assert were_seen(catalog.set_axis(catalog.index[::-1]), seen, 4, KEY).tolist() == expected


@settings(max_examples=100, deadline=None)
@given(first=films(), second=films())
def test_tables_are_joined_as_sorting_their_distinct_rows_does(
    first: pd.DataFrame, second: pd.DataFrame
) -> None:
    tables = [seen_films(first, KEY), seen_films(second, KEY)]
    slow = pd.concat(tables, ignore_index=True).drop_duplicates()
    slow = slow.sort_values(["name", "pixels", "key"], ignore_index=True)
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


def film_rows(*paths: str) -> pd.DataFrame:
    """Return films whose pixels are all their own."""
    rows = [("set", path, hashlib.sha256(path.encode()).hexdigest()[:32]) for path in paths]
    return pd.DataFrame(rows, columns=["source", "path", "pixels"]).astype("string")


def before_keys(films: pd.DataFrame) -> pd.DataFrame:
    """Return seen films as models of 0.1.0 have them."""
    names = [
        hashlib.sha256(f"{row.source}/{row.path}".encode()).hexdigest()[:32]
        for row in films.itertuples()
    ]
    return pd.DataFrame({"name": pd.array(names, "string"), "pixels": films["pixels"].array})


def test_without_the_key_nothing_is_refused_and_a_line_says_so() -> None:
    films = film_rows("a.png", "b.png")
    seen = seen_films(films, KEY)
    assert were_seen(films, seen, 4, KEY).all()
    assert key_notes(seen, KEY, "run") == []
    for key in (None, OTHER):
        assert not were_seen(films, seen, 4, key).any()
        (note,) = key_notes(seen, key, "run")
        assert "run cannot tell its 2 training films, so it refuses none of them" in note
        assert "--key-file" in note


def test_names_of_a_published_model_cannot_be_guessed_back() -> None:
    films = film_rows(*(f"{number:05}.png" for number in range(50)))
    seen = seen_films(films, KEY)
    plain = before_keys(films)
    for column in ("name", "pixels"):
        assert not set(seen[column]) & set(plain[column])
        assert not set(seen[column]) & set(seen_films(films, OTHER)[column])
    assert KEY.secret.hex() not in seen.to_csv()
    assert "secret" not in repr(KEY)


def test_films_of_models_of_before_are_refused_with_a_note_that_they_can_be_guessed() -> None:
    old, new = film_rows("a.png", "b.png"), film_rows("c.png")
    seen = joined(before_keys(old), seen_films(new, KEY))
    both = pd.concat([old, new, film_rows("d.png")], ignore_index=True)
    assert were_seen(both, seen, 4, KEY).tolist() == [True, True, True, False]
    assert were_seen(both, seen, 4, None).tolist() == [True, True, False, False]
    assert were_seen(both, before_keys(old), 4, KEY).tolist() == [True, True, False, False]
    (note,) = key_notes(seen, KEY, "run")
    assert "2 training films of run are hashed without a key" in note
