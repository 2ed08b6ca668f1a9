"""A store's columns, codes and fingerprint, read in part, are what the whole table gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hilum.catalog import Catalog, film_table
from hilum.errors import DataError
from hilum.images.catalog_table import CatalogTable
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.store import CATALOG, MANIFEST, Store
from hilum.images.store_writing import write_store

FINDINGS = ("Edema", "Hernia", "Hernia.old")


def write(folder: Path, films: int, seed: int, source: str = "here", start: int = 0) -> Path:
    """Write a store with nulls in every column that may have them; some films look alike."""
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, max(films // 3, 1), films)
    study = pd.array([f"s{number}" for number in rng.integers(0, films, films)], "string")
    study[rng.random(films) < 0.3] = pd.NA
    rows = pd.DataFrame(
        {
            "path": [f"é{number}/film {number}.png" for number in range(start, start + films)],
            "patient": [f"p{number}" for number in patient],
            "study": study,
            "sex": np.array(["M", "F", None], object)[rng.integers(0, 3, films)],
            "age": np.where(rng.random(films) < 0.2, np.nan, rng.integers(1, 99, films)),
            "part": np.array(["train", "test", None], object)[rng.integers(0, 3, films)],
        }
    )
    for finding in FINDINGS:
        rows[finding] = rng.choice([1, 0, -1, np.nan], films)
    catalog = Catalog(source, folder, FINDINGS, film_table(rows, FINDINGS), films)
    images = rng.integers(0, 3, (films, 8, 8)).astype(np.uint8)
    sizes = [None if rng.random() < 0.2 else (20, 30) for _ in range(films)]
    write_store(folder, catalog, images, Preparation(8), sizes)
    return folder


def whole(folders: Sequence[Path], names: Sequence[str]) -> pd.DataFrame:
    """Return the catalogue of several stores the slow way: every column of every row."""
    tables = []
    for folder, name in zip(folders, names, strict=True):
        table = pd.read_parquet(folder / CATALOG)
        source = json.loads((folder / "manifest.json").read_text())["source"]
        table["source"] = pd.array([source] * len(table), dtype="string")
        for column in ("patient", "study"):
            table[column] = f"{name}:" + table[column]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def slow_fingerprint(folder: Path) -> str:
    manifest, table = (
        json.loads((folder / "manifest.json").read_text()),
        pd.read_parquet(folder / CATALOG),
    )
    facts = {key: manifest[key] for key in ("shards", "findings", "source")}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    labels = table[manifest["findings"]].to_numpy(np.float32)
    digest.update(np.where(np.isnan(labels), np.float32(np.nan), labels).tobytes())
    for column in ("path", "patient"):
        digest.update("\n".join(table[column]).encode())
    return digest.hexdigest()


def in_small_blocks(folder: Path, *, in_memory: bool) -> Store:
    """Open a store whose table is read 7 rows at a time."""
    manifest = json.loads((folder / MANIFEST).read_text())
    if in_memory:
        return Store(folder, manifest, CatalogTable(pd.read_parquet(folder / CATALOG), 7))
    return Store(folder, manifest, CatalogTable.open(folder / CATALOG, 7))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(films=st.lists(st.integers(1, 40), min_size=1, max_size=3), data=st.data())
def test_columns_codes_and_fingerprints_are_those_of_the_whole_table(
    tmp_path_factory: pytest.TempPathFactory, films: list[int], data: st.DataObject
) -> None:
    base = tmp_path_factory.mktemp("stores")
    one_source = data.draw(st.booleans())
    sources = ["set" if one_source else f"set{number}" for number in range(len(films))]
    folders = [
        write(base / str(number), count, number, sources[number], 100 * number)
        for number, count in enumerate(films)
    ]
    in_memory = data.draw(st.booleans())
    joined = Films([in_small_blocks(folder, in_memory=in_memory) for folder in folders])
    table = whole(folders, sources)
    pd.testing.assert_frame_equal(joined.catalog, table)
    for store, folder in zip(joined.stores, folders, strict=True):
        pd.testing.assert_frame_equal(store.catalog, pd.read_parquet(folder / CATALOG))
        assert store.fingerprint == slow_fingerprint(folder)
        slow_labels = store.catalog[list(FINDINGS)].to_numpy(np.float32)
        np.testing.assert_array_equal(store.labels, slow_labels)

    rows = np.array(
        data.draw(st.lists(st.integers(0, len(table) - 1), max_size=30)), dtype=np.int64
    )
    names = data.draw(st.lists(st.sampled_from(list(table)), min_size=1, unique=True))
    pd.testing.assert_frame_equal(
        joined.columns(names, rows), table.iloc[rows][names], check_index_type=False
    )
    pd.testing.assert_frame_equal(
        joined.columns(rows=rows), table.iloc[rows], check_index_type=False
    )
    pd.testing.assert_frame_equal(joined.columns(names), table[names])

    np.testing.assert_array_equal(joined.patient_codes, pd.factorize(table["patient"])[0])
    studies, known = pd.factorize(table["study"])
    studies[studies < 0] = len(known) + np.arange((studies < 0).sum())
    np.testing.assert_array_equal(joined.study_codes, studies)
    stated = ~np.isnan(joined.labels)
    by_store = [rows.any(axis=0) for rows in np.split(stated, joined.starts[1:-1])]
    np.testing.assert_array_equal(joined.labelled_by_source, np.repeat(by_store, films, axis=0))


def test_a_path_with_other_pixels_makes_two_data_sets_of_one_name(tmp_path: Path) -> None:
    same = [write(tmp_path / "a", 9, 0), write(tmp_path / "b", 5, 1, start=50)]
    other = [tmp_path / "a", write(tmp_path / "c", 9, 2)]
    assert Films.open(same).catalog["patient"].str.startswith("here:").all()
    assert Films.open(other).catalog["patient"].str.startswith("here@").all()


def test_a_table_damaged_below_its_description_is_refused_on_opening(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", 400, 0)
    content = bytearray((folder / CATALOG).read_bytes())
    content[4:3000] = b"\x00" * 2996
    (folder / CATALOG).write_bytes(content)
    with pytest.raises(
        DataError, match=r"catalog\.parquet cannot be read: delete .* again"
    ) as caught:
        Store.open(folder)
    assert "\n" not in str(caught.value)
