"""Pseudonyms of an archive's films, patients and studies, and the private table that leads back to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.catalog import Archive, Catalog
from hilum.csv_files import write_private_csv
from hilum.errors import DataError, OptionError
from hilum.group_key import GroupKey, passed_on

NAMES = ("film", "patient", "study", "patient_number", "file", "left_out")
"""Columns of the table of names."""
_NAMED = {"path": "film", "patient": "patient", "study": "study"}
"""Columns of the catalogue that name people, and the kind of their pseudonyms."""


def pseudonymous(catalog: Catalog, key: GroupKey) -> Catalog:
    """Return an archive's catalogue with pseudonyms for paths, patients and studies, in the order of the films'.

    The order of files or of UIDs would tell names or dates.
    """
    archive = _archive(catalog)
    named = {
        column: key.pseudonyms(kind, map(_bytes, catalog.table[column]))
        for column, kind in _NAMED.items()
    }
    order = np.argsort(np.array(named["path"], object), kind="stable")
    columns = {column: pd.array(names, "string") for column, names in named.items()}
    table = catalog.table.assign(**columns).iloc[order].reset_index(drop=True)
    files = tuple(archive.files[row] for row in order.tolist())
    return replace(catalog, table=table, archive=replace(archive, files=files))


def refuse_names_file(path: Path, out: Path, catalog: Catalog) -> None:
    """Refuse to write a table of names where it does not belong.

    Raises:
        OptionError: The source hides no names, or the file would lie in a store, a run or a model.
    """
    if catalog.archive is None:
        raise OptionError(
            f"--names-file {path}: the store of this source has its paths as they are; leave it out."
        )
    inside = passed_on(path)
    if path.resolve().is_relative_to(out.resolve()):
        inside = out
    if inside is not None or path.is_dir():
        where = f"is inside {inside}, which may be passed on" if inside else "is a folder"
        raise OptionError(f"--names-file {path} {where}: give a file elsewhere.")


def write_names(path: Path, catalog: Catalog, key: GroupKey) -> None:
    """Write which film is which file, and why other files are none, for the owner's eyes alone.

    Args:
        path: A CSV, replaced.
        catalog: With the true names, as its source gave it.
        key: Of the pseudonyms.

    Raises:
        DataError: It cannot be written.
    """
    archive = _archive(catalog)
    table = catalog.table
    columns = [key.pseudonyms(kind, map(_bytes, table[name])) for name, kind in _NAMED.items()]
    kept = zip(*columns, table["patient"], archive.files, [""] * len(table), strict=True)
    left_out = (("", "", "", "", file, reason) for file, reason in archive.left_out.items())
    try:
        write_private_csv(path, NAMES, [*sorted(kept), *sorted(left_out)])
    except OSError as error:
        raise DataError(
            f"--names-file {path} cannot be written ({error.strerror}): give another file."
        ) from error


def _archive(catalog: Catalog) -> Archive:
    if catalog.archive is None:
        raise ValueError("only an archive's catalogue has names to hide")
    return catalog.archive


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
