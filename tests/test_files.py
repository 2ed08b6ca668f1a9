"""Files that are old or new, never half."""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import zipfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hilum.files import (
    canonical_json,
    clear_leftovers,
    most_zip_entries,
    new_folder,
    read_hashed_json,
    read_hashed_text,
    read_json,
    refuse_links_out,
    replacing,
    sha256,
    write_bytes,
    write_hashed_text,
    write_json,
)


def test_a_file_is_replaced_and_nothing_is_left_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for content in (b"old", b"new"):
        write_bytes(path, content)
        assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("name", ["n" * 201, "n" * 251 + ".csv", "\u00fc" * 127, "." + "n" * 254])
def test_a_name_of_any_length_that_a_file_can_have_is_written(tmp_path: Path, name: str) -> None:
    write_bytes(tmp_path / name, b"whole")
    with new_folder(tmp_path / "folders" / name) as aside:
        (aside / "a").write_bytes(b"whole")
    assert (tmp_path / name).read_bytes() == b"whole"
    assert (tmp_path / "folders" / name / "a").read_bytes() == b"whole"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([name, "folders"])


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


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'"' + b"a" * 2000 + b'"', "2002 bytes, at most 1000 are read"),
        (b" " * 1001, "1001 bytes"),
        (b"[" * 900 + b"]" * 90, "brackets too deep|Expecting|more than"),
    ],
)
def test_json_of_any_size_or_depth_is_refused(tmp_path: Path, content: bytes, line: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=line):
        read_json(tmp_path / "a.json", 1000)


@pytest.mark.parametrize("content", ["[" * 10**6, '{"a":' * 10**6, "[" + "[]," * 3_000_000 + "0]"])
def test_json_of_brackets_is_a_value_error_whatever_their_order(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match="brackets"):
        read_json(tmp_path / "a.json")


def test_a_huge_json_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="1099511627776 bytes, at most 33554432 are read"):
        read_json(tmp_path / "a.json")
    with pytest.raises(ValueError, match="at most 33554432"):
        read_hashed_json(tmp_path / "a.json")


@pytest.mark.parametrize("names", [0, 1, 2, 5000])
@pytest.mark.parametrize("comment", [b"", b"PK\5\6", b"x" * 65_000])
def test_a_zip_archives_entries_are_reckoned_without_reading_them(
    tmp_path: Path, names: int, comment: bytes
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in range(names):
            archive.writestr(f"{name}", b"")
        archive.comment = comment[:4] if comment[:2] == b"PK" else comment
    reckoned = most_zip_entries(tmp_path / "a.zip")
    assert names <= reckoned <= 2 * names or comment[:2] == b"PK"
    (tmp_path / "none").write_bytes(b"no archive")
    assert most_zip_entries(tmp_path / "none") == 0


def test_what_a_killed_process_left_aside_goes_and_what_another_still_writes_stays(
    tmp_path: Path,
) -> None:
    for name in (".a.json.7.part", ".b.json.7.part", ".model.7.old/x", ".model.8.part/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("half")
    busy = tmp_path / ".a.json.8.part"
    with busy.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as the process does that writes it
        write_json(tmp_path / "a.json", {})
        with new_folder(tmp_path / "model") as aside:
            (aside / "weights").write_text("whole")
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert names == [".a.json.8.part", ".b.json.7.part", "a.json", "model"]
    write_json(tmp_path / "a.json", {})
    assert not busy.exists()


def test_a_text_carries_the_hash_of_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    write_hashed_text(path, "a: 1\nb: 2\n")
    assert read_hashed_text(path) == ("a: 1\nb: 2\n", True)
    whole = path.read_bytes()
    for place in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << (place % 8)
        path.write_bytes(changed)
        try:
            text, hashed = read_hashed_text(path)
        except ValueError:
            continue
        # One bit of the last line's first letter: YAML cannot read what is left of it.
        assert (text, hashed) == (changed.decode(), False)
        with pytest.raises(yaml.YAMLError):
            yaml.safe_load(text)
    path.write_text("a: 1\n# a comment\n")
    assert read_hashed_text(path) == ("a: 1\n# a comment\n", False)


def test_links_that_lead_out_are_refused_at_any_depth(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/inner").symlink_to("../..")
    refuse_links_out(folder, ["a", "missing"])
    (folder / "a/b/outer").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leads out of"):
        refuse_links_out(folder, ["a"])
    refuse_links_out(folder, ["missing"])
