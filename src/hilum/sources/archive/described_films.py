"""View, sex and age of the DICOM films of a published set, whose tables name them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hilum.counts import counted
from hilum.images.dicom.header import DicomHeader
from hilum.sources.archive.film_view import film_view
from hilum.sources.archive.films import age_of
from hilum.sources.archive.headers import read_headers


def described_films(root: Path, files: Sequence[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return view_position, sex and age of films by their headers, [N], and a note on those without one.

    Raises:
        DataError: The processes that read headers cannot be started.
    """
    headers = [
        header if isinstance(header, DicomHeader) else DicomHeader()
        for header in read_headers(root, files)
    ]
    rows = pd.DataFrame(
        {
            "view_position": [film_view(header) for header in headers],
            "sex": [header.sex if header.sex in ("M", "F") else None for header in headers],
            "age": [age_of(header) for header in headers],
        }
    )
    unread = sum(header == DicomHeader() for header in headers)
    note = f"{counted(unread, 'film has', 'films have')} no header that can be read"
    return rows, (note,) if unread else ()
