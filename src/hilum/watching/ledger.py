"""The ledger of a watched folder: which films were read, and results that appear once each, over kills too.

Results are first written aside, then the ledger gets its line, then they are renamed into place. Whatever
moment a kill comes at, the next start either finishes the renaming or forgets what was written aside: a
result that somebody has already taken away never appears again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hilum.errors import RunError
from hilum.files import sync
from hilum.training.run_folder import hold

LEDGER, LOCK, RESULTS, ASIDE = "ledger.jsonl", ".lock", "results", ".aside"


class Ledger:
    """The films that were read, by pseudonym. Made by `open_ledger`."""

    def __init__(self, folder: Path) -> None:
        """Read the ledger of a folder that is held, and finish what a kill has interrupted.

        Raises:
            RunError: The ledger is damaged.
        """
        self.results, self._aside = folder / RESULTS, folder / ASIDE
        self._path = folder / LEDGER
        for made in (self.results, self._aside):
            made.mkdir(exist_ok=True)
        self.films = self._read()
        for file in sorted(self._aside.iterdir()):
            if file.name.rpartition("-")[0] in self.films:
                file.rename(self.results / file.name)
            else:
                file.unlink()
        sync(self.results)

    def __contains__(self, film: str) -> bool:
        """Whether a film, by its pseudonym, was read or refused."""
        return film in self.films

    def add(self, film: str, outcome: str, files: Mapping[str, bytes] | None = None) -> None:
        """Write down a film, and let its results appear.

        Args:
            film: Its pseudonym.
            outcome: read, or why it was not.
            files: What follows the pseudonym in a result's name -> its content.
        """
        names = {f"{film}-{ending}": data for ending, data in (files or {}).items()}
        for name, data in names.items():
            with (self._aside / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        sync(self._aside)
        with self._path.open("ab") as file:
            file.write(json.dumps({"film": film, "outcome": outcome}).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.films[film] = outcome
        for name in names:
            (self._aside / name).rename(self.results / name)
        sync(self.results)

    def _read(self) -> dict[str, str]:
        """Return film -> outcome; an incomplete last line, of a kill, is removed from the file.

        Raises:
            RunError: A line is damaged.
        """
        if not self._path.exists():
            self._path.touch()
            return {}
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        films = {}
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                entry: Any = json.loads(line)
                films[str(entry["film"])] = str(entry["outcome"])
            except (ValueError, KeyError, TypeError) as error:
                raise RunError(
                    f"{self._path} is damaged in line {number}: mend that line; without it a film is read again."
                ) from error
        return films


@contextmanager
def open_ledger(folder: Path) -> Iterator[Ledger]:
    """Hold a folder for this process, and give its ledger.

    Raises:
        RunError: Another process holds it, it holds something else, or its ledger is damaged.
    """
    ours = {LEDGER, LOCK, RESULTS, ASIDE}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strange = sorted(path.name for path in folder.iterdir() if path.name not in ours)
        if strange and not (folder / LEDGER).is_file():
            raise RunError(f"--out {folder} holds something else: give a new folder.")
        lock = (folder / LOCK).open("w", encoding="utf-8")
    except OSError as error:
        raise RunError(f"--out {folder} cannot be used ({error.strerror}).") from error
    with lock:
        hold(lock.fileno(), folder)
        yield Ledger(folder)
