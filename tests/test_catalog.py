from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.catalog import FILM_COLUMNS, Catalog, film_table
from hilum.errors import DataError

ROWS = pd.DataFrame(
    {"path": ["a.png", "b.png"], "patient": ["1", "2"], "Edema": [1, None], "other": [0, 0]}
)


def catalog(table: pd.DataFrame, rows_read: int = 2, **excluded: int) -> Catalog:
    return Catalog("folder", Path("root"), ("Edema",), table, rows_read, excluded)


def test_a_table_gets_all_columns_in_order_and_of_their_types() -> None:
    table = film_table(ROWS, ("Edema",))
    assert list(table.columns) == [*FILM_COLUMNS, "Edema"]
    assert table["age"].dtype == table["Edema"].dtype == np.float32
    assert all(pd.api.types.is_string_dtype(table[name]) for name in FILM_COLUMNS if name != "age")
    np.testing.assert_array_equal(catalog(table).labels(), np.float32([[1], [np.nan]]))


def test_nothing_left_says_why() -> None:
    with pytest.raises(
        DataError, match=r"no film is left of 5 rows in root: 5 gone. Check the root folder"
    ):
        catalog(film_table(ROWS.iloc[:0], ("Edema",)), 5, gone=5)


def test_a_path_twice_is_refused() -> None:
    with pytest.raises(DataError, match=r"1 path stands twice in root, first 'a.png'"):
        catalog(film_table(ROWS.assign(path="a.png"), ("Edema",)))


def test_our_own_faults_are_value_errors() -> None:
    with pytest.raises(ValueError, match="rows_read must equal"):
        catalog(film_table(ROWS, ("Edema",)), 3)
    with pytest.raises(ValueError, match="every film needs a patient"):
        catalog(film_table(ROWS.drop(columns="patient"), ("Edema",)))
    with pytest.raises(ValueError, match="catalogue columns are"):
        catalog(ROWS)
