"""Several rows of one film, as of several readers or boxes, joined into one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from hilum.arrays import FloatArray
from hilum.catalog import ABSENT, PRESENT, UNCERTAIN
from hilum.counts import counted
from hilum.errors import DataError
from hilum.sources import tables

JOINED = "joined with another row of its film"
_MUST_AGREE = ("patient", "study", "part")


def join_rows(
    rows: pd.DataFrame, labels: dict[str, FloatArray], how: str, name: str
) -> tuple[pd.DataFrame, dict[str, FloatArray], tuple[str, ...]]:
    """Return one row a film, in the order of first rows, and notes.

    Args:
        rows: [N] with ``path`` and further columns of the catalogue.
        labels: [N] for each finding.
        how: any, majority or uncertain; cells that state nothing have no vote.
        name: The table's, for errors and notes.

    Raises:
        DataError: Rows of one film name different patients, studies or splits.
    """
    codes, films = pd.factorize(rows["path"])
    codes = codes.astype(np.int64)
    joined = pd.DataFrame({"path": pd.Series(films, dtype=rows["path"].dtype)})
    notes: list[str] = []
    grouped = rows.groupby(codes, sort=False)
    for column in rows.columns.drop("path"):
        differ = (grouped[column].nunique() > 1).to_numpy(bool)  # [films]
        joined[column] = grouped[column].first().reset_index(drop=True)
        if not differ.any():
            continue
        film = tables.show(films[int(differ.argmax())])
        if column in _MUST_AGREE:
            values = rows[column][codes == differ.argmax()].dropna().unique()
            raise DataError(
                f"{name}: rows of {film} name different values of {column.replace('part', 'split')}: "
                f"{', '.join(map(tables.show, values[:3]))} ({counted(int(differ.sum()), 'such film')}): "
                "mend them or take them out."
            )
        joined.loc[differ, column] = None
        notes.append(
            f"{name}: {counted(int(differ.sum()), 'film')} whose rows differ in {column} "
            f"{'has' if differ.sum() == 1 else 'have'} "
            f"none, first {film}"
        )
    both = {finding: _join(values, codes, len(films), how) for finding, values in labels.items()}
    shown = (
        f"{name}: {counted(len(rows) - len(films), 'row')} joined with others of "
        f"{counted(len(films), 'film')} ({how})"
    )
    return joined, both, (shown, *notes)


def _join(values: FloatArray, codes: npt.NDArray[np.int64], films: int, how: str) -> FloatArray:
    """Return one finding's labels [films] from those of all rows [N]."""
    present, absent, uncertain = votes = [
        np.bincount(codes[values == value], minlength=films)
        for value in (PRESENT, ABSENT, UNCERTAIN)
    ]
    if how == "any":
        chosen = np.select([present > 0, uncertain > 0], [PRESENT, UNCERTAIN], ABSENT)
    else:
        needed = np.max(votes, axis=0) if how == "majority" else np.ones(films, np.int64)
        wins = np.stack(votes) >= needed  # [3, films]
        alone = wins.sum(axis=0) == 1
        chosen = np.select([alone & wins[0], alone & wins[1]], [PRESENT, ABSENT], UNCERTAIN)
    stated = present + absent + uncertain > 0
    return np.where(stated, chosen, np.nan).astype(np.float32)
