"""Readers' verdicts on films as a table of labels, for training: one row a film and reader, replaced whole each time.

```
FILE.csv     film, patient, reader, model, then a column a finding: 1 present, 0 absent, -1 uncertain, or empty
films/       where the service was asked to keep them: SHA-256 of the film as it was sent, .png
```
A film is called by its hash, a patient by a pseudonym under the group's key.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hilum.catalog import ABSENT, PRESENT, UNCERTAIN
from hilum.csv_files import csv_text, write_private_csv
from hilum.errors import DataError, OptionError
from hilum.files import replacing
from hilum.group_key import made_key

FIXED = ("film", "patient", "reader", "model")
"""Columns before those of the findings."""
FILMS = "films"
"""Folder beside the table."""
WORDS = {"present": PRESENT, "absent": ABSENT, "uncertain": UNCERTAIN}
"""What a reader says of a finding, and the label that it becomes."""
_CELLS = {f"{value:.0f}": value for value in WORDS.values()}
MOST_ROWS = 100_000
"""Rows of a table, at most: it is written whole for each verdict."""


@dataclass(frozen=True)
class Verdict:
    """What a reader says of a film."""

    film: str
    """SHA-256 of the film as it was sent, 64 hex digits."""
    reader: str
    model: str
    """SHA-256 of the model whose answer the reader saw."""
    labels: Mapping[str, float | None]
    """Finding -> label; None withdraws an earlier one."""
    patient: str | None = None
    """Any name that the patient has at the sender's; stored as a pseudonym alone."""


@dataclass
class _Row:
    patient: str
    model: str
    labels: dict[str, float]


class VerdictTable:
    """The table, owned by one process; a method is called by one thread at a time."""

    def __init__(self, path: Path, findings: Sequence[str]) -> None:
        """Read the table, or begin one.

        Args:
            path: A CSV file; its folder is made.
            findings: The model's, which get columns beside those that the table has.

        Raises:
            OptionError: It cannot be written, holds something else, or another service writes there.
            RunError: The group's key cannot be read or made.
        """
        self.path, self.folder = path, path.resolve().parent
        if path.is_dir():
            raise OptionError(
                f"--verdicts {path} is a folder: give a file name, such as {path / 'verdicts.csv'}."
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise OptionError(
                f"--verdicts {path}: another service keeps verdicts in this folder; give a folder of its own."
            ) from error
        except OSError as error:
            raise OptionError(
                f"--verdicts {path} cannot be written ({error.strerror}): give another file."
            ) from error
        self._findings = tuple(findings)
        self._rows: dict[tuple[str, str], _Row] = {}
        self._columns: tuple[str, ...] = ()
        """Findings that the table had when it was read."""
        self._known: tuple[int, int, int] | None = None
        """What changes with the file, as it was last read or written here."""
        if next(_cells(csv_text(self._findings, ())), []) != list(findings):
            raise OptionError(
                "the model has findings whose names spreadsheets take for formulas: no table of verdicts can hold them."
            )
        try:
            self._read()
            self._key = made_key(path)
            if not path.exists():
                self._write()
        except (DataError, OSError) as error:
            self.close()
            reason = getattr(error, "strerror", None) or error
            raise OptionError(f"--verdicts {path}: {reason}") from error

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def close(self) -> None:
        """Let another service write there."""
        with suppress(OSError):
            os.close(self._lock)

    def has_film(self, film: str) -> bool:
        """Whether the film of that hash is kept."""
        return (self.folder / FILMS / f"{film}.png").is_file()

    def keep_film(self, film: str, png: bytes) -> None:
        """Keep a film's picture under its hash, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        folder = self.folder / FILMS
        folder.mkdir(mode=0o700, exist_ok=True)
        with replacing(folder / f"{film}.png", private=True) as aside:
            aside.write_bytes(png)

    def store(self, verdict: Verdict) -> dict[str, float]:
        """Write a verdict, in place of what the same reader stated of the same findings of the film before.

        Returns:
            Finding -> label, all that the reader has stated of the film.

        Raises:
            DataError: The table was changed by others and is no longer one, or is full.
            OSError: It cannot be written.
        """
        if self._signature() != self._known:
            self._read()
        key = verdict.film, verdict.reader
        row = self._rows.get(key)
        if row is None and len(self._rows) >= MOST_ROWS:
            raise DataError(f"it has {MOST_ROWS:,} rows, the most that are kept: begin another.")
        before = dict(self._rows)
        patient = next(
            (other.patient for (film, _), other in before.items() if film == verdict.film),
            verdict.film,
        )
        if verdict.patient is not None:
            (patient,) = self._key.pseudonyms("patient", [verdict.patient.encode()])
        labels = {**(row.labels if row else {}), **verdict.labels}
        stated = {name: value for name, value in labels.items() if value is not None}
        self._rows.pop(key, None)  # the rows are in the order of their last change
        for (film, reader), other in before.items():
            if film == verdict.film and other.patient != patient and (film, reader) in self._rows:
                self._rows[film, reader] = _Row(patient, other.model, other.labels)
        if stated:
            self._rows[key] = _Row(patient, verdict.model, stated)
        try:
            self._write()
        except BaseException:
            self._rows = before
            raise
        return stated

    def _header(self) -> list[str]:
        of_rows = (name for row in self._rows.values() for name in row.labels)
        return [*FIXED, *dict.fromkeys((*self._columns, *self._findings, *of_rows))]

    def _write(self) -> None:
        header = self._header()
        cells = (
            [f"{FILMS}/{film}.png", row.patient, reader, row.model]
            + [
                None if (value := row.labels.get(name)) is None else int(value)
                for name in header[len(FIXED) :]
            ]
            for (film, reader), row in self._rows.items()
        )
        write_private_csv(self.path, header, cells)
        self._known = self._signature()

    def _signature(self) -> tuple[int, int, int] | None:
        """Return what changes with the file, None where there is none."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> None:
        """Read the table as it is on disk.

        Raises:
            DataError: It is none.
            OSError: It cannot be read.
        """
        known = self._signature()
        rows: dict[tuple[str, str], _Row] = {}
        columns: tuple[str, ...] = ()
        if known is not None:
            try:
                lines = _cells(self.path.read_text("utf-8-sig"))
                header = next(lines, [])
                columns = tuple(header[len(FIXED) :])
                if tuple(header[: len(FIXED)]) != FIXED or len(set(header)) != len(header):
                    raise ValueError(f"its first columns are not {', '.join(FIXED)}")
                for number, line in enumerate(lines, start=2):
                    (film, reader), row = _row(line, columns, number)
                    rows[film, reader] = row
            except (ValueError, csv.Error) as error:
                raise DataError(
                    f"it is no table of verdicts ({error}): mend it, or give another file."
                ) from error
        self._rows, self._columns, self._known = rows, columns, known


def _cells(text: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), strict=True)


def _row(line: list[str], columns: Sequence[str], number: int) -> tuple[tuple[str, str], _Row]:
    """Return a line's film and reader, and the rest.

    Raises:
        ValueError: It is no row of such a table.
    """
    if len(line) != len(FIXED) + len(columns):
        raise ValueError(f"line {number} has {len(line)} cells")
    film = line[0].removeprefix(f"{FILMS}/").removesuffix(".png")
    cells = dict(zip(columns, line[len(FIXED) :], strict=True))
    labels = {name: _CELLS[cell] for name, cell in cells.items() if cell in _CELLS}
    if len(labels) != sum(cell != "" for cell in cells.values()):
        raise ValueError(f"line {number} has a cell that is neither 1, 0, -1 nor empty")
    return (film, line[2]), _Row(line[1], line[3], labels)
