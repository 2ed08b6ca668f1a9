"""A store's table: columns of texts as numbers, and how the file is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hilum.images.catalog_table import CatalogTable, write_columns


@pytest.mark.parametrize("writing", [{}, {"row_group_size": 3}, {"use_dictionary": False}])
def test_numbers_into_texts_are_those_of_the_texts_however_the_file_was_written(
    tmp_path: Path, writing: dict[str, Any]
) -> None:
    patients = ["b", "a", "b", None, "c", "a", "d", "b"]
    table = pd.DataFrame({"patient": pd.array(patients, "string"), "age": np.arange(8.0)})
    table.to_parquet(tmp_path / "older.parquet", index=False, **writing)
    write_columns(tmp_path / "now.parquet", table, ())
    of_memory = CatalogTable(table).encoded("patient")
    for name in ("older", "now"):
        encoded = CatalogTable.open(tmp_path / f"{name}.parquet").encoded("patient")
        assert encoded.dictionary.to_pylist() == ["b", "a", "c", "d"]
        assert encoded.to_pylist() == patients == of_memory.to_pylist()


def test_a_column_of_differing_texts_is_written_without_their_list(tmp_path: Path) -> None:
    table = pd.DataFrame({"path": ["x", "y"], "sex": ["f", "f"]})
    write_columns(tmp_path / "t.parquet", table, ("path",))
    group = pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0)
    assert [group.column(i).has_dictionary_page for i in range(2)] == [False, True]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), table)
