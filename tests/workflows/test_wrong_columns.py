"""Tables of ours with wrong columns, hashes made anew: one line, whichever table and column it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hilum.bundle.model_folder import FILES, SEEN, load_model
from hilum.bundle.model_folder import MANIFEST as BUNDLE
from hilum.cli.app import main
from hilum.errors import DataError, RunError
from hilum.files import file_hashes, read_hashed_json, sha256, write_hashed_json, write_json
from hilum.images.store import CATALOG, MANIFEST, Store
from hilum.workflows.evaluate.predictions import IDENTITY, read_predictions, write_predictions

Change = Callable[[pa.Table, str], pa.Table]


def replaced(values: Callable[[int], pa.Array]) -> Change:
    return lambda table, name: table.set_column(
        table.column_names.index(name), name, values(len(table))
    )


CHANGES: dict[str, Change] = {
    "dropped": lambda table, name: table.drop_columns([name]),
    "lists": replaced(lambda count: pa.array([[1]] * count)),
    "times": replaced(lambda count: pa.array([pd.Timestamp("2020-01-01")] * count)),
    "nothing": replaced(pa.nulls),
}
TO_NUMBERS = replaced(lambda count: pa.array([7.5] * count))
TO_TEXTS = replaced(lambda count: pa.array(["x"] * count))


@pytest.mark.parametrize("change", [*CHANGES, "kind"])
@pytest.mark.parametrize("column", ["path", "patient", "pixels", "age", "Mass"])
def test_a_catalogue(tiny_store: Path, tmp_path: Path, column: str, change: str) -> None:
    store = tmp_path / "store"
    shutil.copytree(tiny_store, store)
    other = TO_TEXTS if column in ("age", "Mass") else TO_NUMBERS
    table = CHANGES.get(change, other)(pq.read_table(store / CATALOG), column)
    pq.write_table(table, store / CATALOG)
    manifest = read_hashed_json(store / MANIFEST)[0]
    write_hashed_json(store / MANIFEST, {**manifest, "catalog_sha256": sha256(store / CATALOG)})
    with pytest.raises(DataError, match="does not fit its manifest"):
        Store.open(store)


@pytest.mark.parametrize("change", [*CHANGES, "kind"])
@pytest.mark.parametrize("column", ["name", "pixels"])
def test_seen_films(classifier: Path, tmp_path: Path, column: str, change: str) -> None:
    model = tmp_path / "model"
    shutil.copytree(classifier / "model", model)
    table = CHANGES.get(change, TO_NUMBERS)(pq.read_table(model / SEEN), column)
    pq.write_table(table.replace_schema_metadata(None), model / SEEN)
    write_json(model / BUNDLE, file_hashes(model, FILES))
    with pytest.raises(RunError, match=r"the model in .* is damaged") as caught:
        load_model(model)
    assert "\n" not in str(caught.value)


def test_predictions_are_made_anew(
    classifier: Path, tiny_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(classifier, run)
    words = ["evaluate", str(run), "--data", str(tiny_store), "--resamples", "2", "--device", "cpu"]
    assert main(words) == 0
    path = run / "predictions-test.parquet"
    whole, sound = path.read_bytes(), read_predictions(path)
    identity = {name: sound.attrs[name] for name in IDENTITY}
    for column in ("path", "Mass"):
        for change in [*CHANGES.values(), TO_NUMBERS if column == "Mass" else TO_TEXTS]:
            table = pa.Table.from_pandas(sound, preserve_index=False).replace_schema_metadata(None)
            write_predictions(path, change(table, column).to_pandas(), identity)
            assert main(words) == 0
            assert path.read_bytes() == whole
    capsys.readouterr()
