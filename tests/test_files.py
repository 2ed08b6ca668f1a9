"""Files that are old or new, never half."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.files import (
    canonical_json,
    clear_leftovers,
    new_folder,
    replacing,
    sha256,
    write_bytes,
    write_json,
)


def test_a_file_is_replaced_and_nothing_is_left_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for content in (b"old", b"new"):
        write_bytes(path, content)
        assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_bytes(path, b"old")

    def fail() -> None:
        with replacing(path) as aside:
            aside.write_bytes(b"ne")
            assert path.read_bytes() == b"old"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "run" / "model"
    for names in (("a", "b"), ("c",)):
        with new_folder(path) as aside:
            for name in names:
                (aside / name).write_text(name)
        assert sorted(entry.name for entry in path.iterdir()) == list(names)
    assert [entry.name for entry in path.parent.iterdir()] == ["model"]


def test_an_error_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with new_folder(path) as aside:
        (aside / "a").write_text("old")

    def fail() -> None:
        with new_folder(path) as aside:
            (aside / "a").write_text("ne")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (path / "a").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_leftovers_are_cleared_and_nothing_else(tmp_path: Path) -> None:
    for name in (".a.json.12.part", "a.json", ".hidden", "b.part"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".model.12.old").mkdir()
    (tmp_path / ".model.12.old" / "inside").write_text("x")
    clear_leftovers(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".hidden", "a.json", "b.part"]
    clear_leftovers(tmp_path / "never-made")


def test_equal_values_give_equal_json(tmp_path: Path) -> None:
    assert canonical_json({"b": 1, "a": [1.5, "é"]}) == canonical_json({"a": [1.5, "é"], "b": 1})
    assert canonical_json({}).endswith(b"\n")
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": math.nan})
    assert list(tmp_path.iterdir()) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4)
    | st.lists(st.text(max_size=5), max_size=4)
    | st.dictionaries(st.text(max_size=3) | st.sampled_from(["a", "b"]), inner, max_size=4)
    | st.dictionaries(st.integers(0, 9), inner, max_size=3)
    | st.tuples(inner, inner),
    max_leaves=20,
)  # fmt: skip


@given(value=JSON)
def test_canonical_json_is_that_of_the_json_module(value: object) -> None:
    slow = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    try:
        expected = (slow + "\n").encode()
    except UnicodeEncodeError:
        return
    assert canonical_json(value) == expected


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x", b"abc" * 99999)
    assert sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 99999).hexdigest()
