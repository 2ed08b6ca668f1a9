"""Reading ``split.json``, with every value checked: anybody may have edited it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hilum import files
from hilum.errors import DataError

FILE_NAME = "split.json"
MOST_BYTES = 2**27
"""Of a split, which names every patient: four million."""


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a split's file.

    Raises:
        DataError: It is missing or no JSON object.
    """
    try:
        content = files.read_json(path, MOST_BYTES)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: run `hilum split STORE`.") from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as JSON ({error!s:.60}): run `hilum split STORE`."
        ) from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path} is no split (a {type(content).__name__}): run `hilum split STORE`."
        )
    return content


def count_tables(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Return the counts of each split (films, patients) as integers."""
    return {
        part: {what: int(count) for what, count in counts.items()}
        for part, counts in tables.items()
    }


def text(value: object) -> str:
    """Return the value; a TypeError if it is no text, a ValueError if UTF-8 cannot encode it."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    value.encode()
    return value


def texts(values: object) -> tuple[str, ...]:
    """Return a list of texts as a tuple, a TypeError if it is none."""
    if not isinstance(values, list):
        raise TypeError(f"{values!r:.40} is no list")
    try:
        "".join(values).encode()  # all at once; the first that is no text is looked for below
    except (TypeError, ValueError):
        return tuple(map(text, values))
    return tuple(values)
