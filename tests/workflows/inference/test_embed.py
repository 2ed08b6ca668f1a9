"""Embedding as a function: the backbone's features row by row, readable by pandas, written once and never mistaken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hilum.bundle.initialization import initial_weights
from hilum.bundle.model_folder import load_model
from hilum.errors import DataError, HilumError, OptionError
from hilum.images.films import Films
from hilum.listener import Listener
from hilum.training.inference import over_films
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.inference.embed import GROUP, embed
from hilum.workflows.inference.options import EmbedOptions


class Heard(Listener):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.seen: list[tuple[int, int]] = []

    def note(self, line: str) -> None:
        self.notes.append(line)

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        self.seen.append((done, total))


def options(store: Path, out: Path, **more: Any) -> EmbedOptions:
    return EmbedOptions(data=(store,), out=out, device="cpu", **more)


def record(file: Path) -> dict[str, Any]:
    return json.loads(pq.read_schema(file).metadata[b"hilum"])


def test_features_are_those_of_the_backbone_row_by_row(
    classifier: Path, tiny_store: Path, tmp_path: Path
) -> None:
    result = embed(str(classifier), options(tiny_store, tmp_path / "below" / "all.parquet"))
    films, table = Films.open([tiny_store]), pd.read_parquet(result.out)
    backbone = load_model(classifier).backbone
    expected = over_films(backbone, films, np.arange(len(films)), 32)
    assert (result.films, result.features) == expected.shape == (96, backbone.out_features)
    found = np.stack(table["features"].to_list())
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)
    assert len(np.unique(found, axis=0)) == 96


def test_a_row_says_whose_it_is(classifier: Path, tiny_store: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(
        embed(str(classifier), options(tiny_store, tmp_path / "all.parquet")).out
    )
    films = Films.open([tiny_store])
    subsets = Subsets.of(films)
    assert list(table.columns) == ["source", "path", "patient", "part", "features"]
    for name in ("source", "path", "patient"):
        assert list(table[name]) == list(films.catalog[name])
    for part in ("train", "val", "test"):
        assert list(np.flatnonzero(table["part"] == part)) == list(subsets.rows(part))


def test_a_part_alone_has_its_films_alone(
    classifier: Path, tiny_store: Path, tmp_path: Path
) -> None:
    whole = pd.read_parquet(
        embed(str(classifier), options(tiny_store, tmp_path / "all.parquet")).out
    )
    result = embed(str(classifier), options(tiny_store, tmp_path / "val.parquet", split="val"))
    part = pd.read_parquet(result.out)
    assert set(part["part"]) == {"val"}
    expected = whole[whole["part"] == "val"].reset_index(drop=True)
    assert list(part["path"]) == list(expected["path"])
    np.testing.assert_allclose(
        np.stack(part["features"]), np.stack(expected["features"]), atol=1e-5
    )


def test_a_film_of_no_part_has_none(
    make_store: Callable[..., Path], classifier: Path, tmp_path: Path
) -> None:
    store = make_store(tmp_path / "store", films=24, seed=3)
    told = json.loads((store / "split.json").read_text("utf-8"))
    del told["sha256"]
    told["left_out"] = ["5.png"]
    (store / "split.json").write_text(json.dumps(told), "utf-8")
    table = pd.read_parquet(embed(str(classifier), options(store, tmp_path / "all.parquet")).out)
    assert list(table["path"][table["part"].isna()]) == ["5.png"]


def test_films_are_written_in_groups_and_progress_counts_them_all(
    make_store: Callable[..., Path], tmp_path: Path
) -> None:
    count = GROUP + 40
    store, heard = make_store(tmp_path / "store", films=count, size=16), Heard()
    result = embed(
        "random", options(store, tmp_path / "all.parquet", backbone="test_resnet"), heard
    )
    file = pq.ParquetFile(result.out)
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [
        GROUP,
        40,
    ]
    assert heard.seen[-1] == (count, count)
    assert [done for done, _ in heard.seen] == sorted({done for done, _ in heard.seen})
    films = Films.open([store])
    backbone = initial_weights("random", "test_resnet", 16, 0).backbone
    expected = over_films(backbone, films, np.arange(count), 16)
    assert np.array_equal(np.stack(pd.read_parquet(result.out)["features"].to_list()), expected)


def test_the_file_says_what_it_holds_and_equal_runs_give_equal_bytes(
    classifier: Path, tiny_store: Path, tmp_path: Path
) -> None:
    one, two = (
        embed(str(classifier), options(tiny_store, tmp_path / name)).out
        for name in ("a.parquet", "b.parquet")
    )
    assert one.read_bytes() == two.read_bytes()
    told = record(one)
    assert (told["model"], told["backbone"], told["size"], told["split"]) == (
        "supervised",
        "test_resnet",
        32,
        "all",
    )
    assert told["preparation"] == Films.open([tiny_store]).preparation.to_json()
    assert told["notice"].startswith("Research use only")
    assert str(tmp_path) not in json.dumps(told)
    kind = pq.read_schema(one).field("features").type
    assert pa.types.is_fixed_size_list(kind)
    assert (kind.value_type, kind.list_size) == (
        pa.float32(),
        load_model(classifier).backbone.out_features,
    )


def test_the_second_time_it_is_already_done_and_other_features_are_refused(
    classifier: Path, tiny_store: Path, tmp_path: Path
) -> None:
    out, heard = tmp_path / "all.parquet", Heard()
    first = embed(str(classifier), options(tiny_store, out))
    before = out.stat().st_mtime_ns
    again = embed(str(classifier), options(tiny_store, out), heard)
    assert again.already_done
    assert (again.films, again.features) == (first.films, first.features)
    assert heard.notes == [f"{out} is already done"]
    with pytest.raises(
        OptionError, match=r"holds other features \(not the same: split\): give another name"
    ):
        embed(str(classifier), options(tiny_store, out, split="test"))
    with pytest.raises(OptionError, match=r"not the same: model, weights\)"):
        embed("random", options(tiny_store, out, backbone="test_resnet"))
    assert out.stat().st_mtime_ns == before


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", None])
def test_another_file_as_out_is_refused_and_left_alone(
    tiny_store: Path, tmp_path: Path, content: str | None
) -> None:
    out = tmp_path / "out.parquet"
    if content is None:
        pd.DataFrame({"a": [1]}).to_parquet(out)
    else:
        out.write_text(content)
    before = out.read_bytes()
    with pytest.raises(
        OptionError, match="a file that `hilum embed` did not write: give another name"
    ):
        embed("random", options(tiny_store, out, backbone="test_resnet"))
    assert out.read_bytes() == before


def test_a_folder_as_out_and_a_value_out_of_range_are_one_line(
    tiny_store: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        OptionError, match=r"--out is .*, a folder: give a file name, such as .*features\.parquet"
    ):
        embed("random", options(tiny_store, tmp_path))
    with pytest.raises(OptionError, match="--size is 8: allowed is 16 or more"):
        options(tiny_store, tmp_path / "x", size=8)


def test_films_prepared_otherwise_than_the_runs_are_refused_and_nothing_is_written(
    classifier: Path, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    store = make_store(tmp_path / "store", size=16)
    with pytest.raises(
        DataError, match=r"was prepared with .*hilum prepare SOURCE ROOT --out NEW --size 32"
    ):
        embed(str(classifier), options(store, tmp_path / "out.parquet"))
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_what_breaks_off_leaves_nothing(tiny_store: Path, tmp_path: Path) -> None:
    class Full(Listener):
        def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
            raise HilumError("no room")

    with pytest.raises(HilumError, match="no room"):
        embed(
            "random", options(tiny_store, tmp_path / "out.parquet", backbone="test_resnet"), Full()
        )
    assert not list(tmp_path.iterdir())


def test_two_stores_are_one_table(
    make_store: Callable[..., Path], tiny_store: Path, tmp_path: Path
) -> None:
    other = make_store(tmp_path / "other", films=20, seed=9)
    given = EmbedOptions(
        data=(tiny_store, other), out=tmp_path / "x.parquet", backbone="test_resnet", device="cpu"
    )
    table = pd.read_parquet(embed("random", given).out)
    films = Films.open([tiny_store, other])
    assert len(table) == 116
    assert list(table["patient"]) == list(films.catalog["patient"])
