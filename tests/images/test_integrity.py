"""Every byte of a store that is read is checked: table, manifest and pixels; nothing leaves its folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.errors import DataError
from hilum.files import write_hashed_json
from hilum.images.films import Films
from hilum.images.store import CATALOG, HEADER_BYTES, MANIFEST, Store
from hilum.images.store_writing import shard_name


@pytest.fixture
def store(tiny_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_store, tmp_path / "store"))


def flip(file: Path, byte: int, bit: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[byte] ^= 1 << bit
    file.write_bytes(content)


def rewrite(folder: Path, **changes: Any) -> None:
    """Write the manifest again with a right hash, as somebody who knows the layout would."""
    content = json.loads((folder / MANIFEST).read_bytes())
    write_hashed_json(folder / MANIFEST, {**content, **changes})


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        Store.open(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_changed_pixel_is_noticed_when_its_film_is_first_read(store: Path) -> None:
    flip(store / shard_name(0), HEADER_BYTES + 32 * 32 * 7 + 5)
    opened = Films.open([store])
    assert opened.read(np.arange(7)).shape == (7, 32, 32)
    for _ in range(2):  # and again: a film that differs never counts as checked
        with pytest.raises(DataError, match=r"pixels of film '7.png' differ .* prepare it again"):
            opened.read(np.array([3, 7]))
    assert list(Store.open(store).damages()) == [shard_name(0)]


def test_a_film_is_hashed_at_its_first_read_only(store: Path) -> None:
    opened = Store.open(store)
    before = opened.read(np.array([0, 1, 1]))
    flip(store / shard_name(0), HEADER_BYTES)
    again = opened.read(np.array([1, 0]))  # the file is mapped: film 0 is another now
    assert (again[0] == before[1]).all()
    assert (again[1] != before[0]).any()


def test_a_shards_own_header_is_not_followed(store: Path) -> None:
    before = Store.open(store).read(np.arange(96))
    content = bytearray((store / shard_name(0)).read_bytes())
    content[10:100] = b"x" * 90
    (store / shard_name(0)).write_bytes(content)
    np.testing.assert_array_equal(Store.open(store).read(np.arange(96)), before)
    with pytest.raises(DataError, match="not what was written"):
        Store.open(store).verify()


@pytest.mark.parametrize("byte", [4, 700, -30])
def test_a_changed_table_is_refused_on_opening(store: Path, byte: int) -> None:
    flip(store / CATALOG, byte)
    assert "catalog.parquet cannot be read" in refusal(store)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"rows_read": 96', b'"rows_read": 97'),
        (b'"tiny"', b'"tony"'),
        (b'"Edema"', b'"Edemb"'),
        (b'"catalog_sha256"', b'"catalog_sha257"'),
        (b'"sha256": "', b'"sha256": "0'),
        (b'"format"', b'"Format"'),
    ],
)
def test_a_changed_manifest_is_refused_on_opening(store: Path, old: bytes, new: bytes) -> None:
    content = (store / MANIFEST).read_bytes()
    assert old in content
    (store / MANIFEST).write_bytes(content.replace(old, new))
    assert "manifest.json cannot be read" in refusal(store)


def test_a_store_without_hashes_of_its_table_opens_with_a_note(store: Path) -> None:
    content = json.loads((store / MANIFEST).read_bytes())
    del content["sha256"], content["catalog_sha256"]
    (store / MANIFEST).write_text(json.dumps(content))
    opened = Store.open(store)
    assert "earlier version" in opened.notes[0]
    assert opened.fingerprint == Store.open(store).fingerprint
    flip(store / shard_name(0), HEADER_BYTES)
    with pytest.raises(DataError, match="pixels of film"):
        opened.read(np.array([0]))


OUTSIDE = ["../x", "a/b", "/etc/x", "..", "a\\b", "C:x", "a\0b", "", 5, None]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_source_that_is_no_name_is_refused(store: Path, name: object) -> None:
    rewrite(store, source=name)
    assert "no name of a data set" in refusal(store)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_shard_that_is_no_file_of_the_store_is_refused(store: Path, name: object) -> None:
    content = json.loads((store / MANIFEST).read_bytes())
    rewrite(store, shards=[{**content["shards"][0], "file": name}])
    assert "manifest.json cannot be read" in refusal(store)


@pytest.mark.parametrize("name", [MANIFEST, CATALOG, shard_name(0)])
def test_a_link_that_leads_out_of_the_store_is_refused(
    store: Path, tmp_path: Path, name: str
) -> None:
    shutil.move(store / name, tmp_path / "elsewhere")
    (store / name).symlink_to(tmp_path / "elsewhere")
    assert "leads out" in refusal(store)


def test_a_link_to_the_whole_store_is_opened(store: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store)
    assert len(Store.open(tmp_path / "link")) == 96


@pytest.mark.parametrize(
    "changes",
    [
        {"findings": 5},
        {"findings": [["Edema"]]},
        {"shards": {}},
        {"shards": [5]},
        {"preparation": []},
        {"preparation": {"size": 10**9}},
    ],
)
def test_a_manifest_of_other_kinds_is_refused_in_one_line(
    store: Path, changes: dict[str, Any]
) -> None:
    rewrite(store, **changes)
    assert "manifest.json" in refusal(store) or "catalog.parquet" in refusal(store)


@pytest.mark.parametrize("content", [b"[" * 10**5, b"[]", b"nan", b"{}", b"\xff\xfe"])
def test_a_manifest_that_is_no_json_object_is_refused(store: Path, content: bytes) -> None:
    (store / MANIFEST).write_bytes(content)
    assert "manifest.json cannot be read" in refusal(store)


def test_several_stores_are_checked_each_by_its_own_table(
    make_store: Callable[..., Path], tmp_path: Path
) -> None:
    folders = [make_store(tmp_path / str(seed), films=40, seed=seed) for seed in (1, 2)]
    flip(folders[1] / shard_name(0), HEADER_BYTES + 32 * 32 * 11)
    films = Films.open(folders)
    films.read(np.arange(51))
    with pytest.raises(DataError, match=r"'11\.png'"):
        films.read(np.array([0, 51]))
