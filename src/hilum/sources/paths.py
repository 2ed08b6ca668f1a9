"""Which of the films that a table names lie on disk, and whether any path leaves the root."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from hilum.errors import DataError
from hilum.sources.tables import FIRST_ROW, show

EXTENSIONS = (".png", ".jpg", ".jpeg")
NOT_ON_DISK = "not on disk"
_WORTH_LISTING = 8
"""A folder is listed once if a table names that many of its files; below, asking for each file is quicker."""


def clean_paths(cells: pd.Series, name: str) -> pd.Series:
    """Return a table's paths as POSIX paths below the root, without ``./`` and doubled slashes.

    Raises:
        DataError: A path is absolute or climbs out by ``..``, or stands twice.
    """
    paths = cells.str.strip().str.replace("\\", "/", regex=False)
    odd = paths.str.contains(r"(?:^|/)\.{0,2}(?:/|$)|^[A-Za-z]:", regex=True).to_numpy(bool)
    if odd.any():
        paths = paths.mask(odd, paths[odd].map(posixpath.normpath))
        leaves = odd & paths.str.match(r"\.\.(?:/|$)|\.$|/|[A-Za-z]:").to_numpy(bool)
        if leaves.any():
            row = int(leaves.argmax())
            raise DataError(_leaves_root(cells.iloc[row], f"{name}, line {row + FIRST_ROW}"))
    refuse_twice(paths, name)
    return paths


def refuse_twice(paths: pd.Series, name: str) -> None:
    """Refuse a film that has two rows.

    Raises:
        DataError: Names the first and how many there are.
    """
    twice = paths.duplicated().to_numpy(bool)
    if twice.any():
        row = int(twice.argmax())
        raise DataError(
            f"{name}, line {row + FIRST_ROW}: {show(paths.iloc[row])} has two rows ({int(twice.sum())} such rows): "
            "keep one row a film."
        )


def on_disk(root: Path, paths: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which paths below the root are files, [N].

    Full folders are listed once; for the rest each file is asked for once.

    Raises:
        DataError: A path leads out of the root through a symbolic link.
    """
    split = [path.rpartition("/") for path in paths]
    folders, counts = np.unique(np.array([folder for folder, _, _ in split], object), return_counts=True)
    inside = _Inside(root)
    listings = {
        folder: _list_folder(inside, folder) for folder in folders[counts >= _WORTH_LISTING] if inside.folder(folder)
    }
    found = np.zeros(len(paths), bool)
    for row, (folder, _, name) in enumerate(split):
        if folder in listings:
            found[row] = name in listings[folder]
        else:
            found[row] = inside.folder(folder) and inside.file(paths[row])
    return found


class _Inside:
    """Answers whether files and folders below the root exist, each folder asked for once."""

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)
        self._folders = {"": True}

    def folder(self, path: str) -> bool:
        if path not in self._folders:
            self._folders[path] = self.folder(path.rpartition("/")[0]) and self._is(path, stat.S_IFDIR)
        return self._folders[path]

    def file(self, path: str) -> bool:
        return self._is(path, stat.S_IFREG)

    def _is(self, path: str, kind: int) -> bool:
        full = f"{self.root}/{path}"
        try:
            mode = os.lstat(full).st_mode
            if stat.S_ISLNK(mode):
                self.check_link(path)
                mode = os.stat(full).st_mode  # noqa: PTH116
        except (OSError, ValueError):
            return False
        return stat.S_IFMT(mode) == kind

    def check_link(self, path: str) -> None:
        target = os.path.realpath(f"{self.root}/{path}")
        if target != self.root and not target.startswith(f"{self.root}/"):
            raise DataError(_leaves_root(path, "symbolic link"))


def _list_folder(inside: _Inside, folder: str) -> set[str]:
    names = set()
    with os.scandir(f"{inside.root}/{folder}") as entries:
        for entry in entries:
            if entry.is_symlink():
                inside.check_link(f"{folder}/{entry.name}" if folder else entry.name)
            if entry.is_file():
                names.add(entry.name)
    return names


def find_films(root: Path) -> list[str]:
    """Return every PNG and JPEG below the root, sorted, as POSIX paths; hidden files and links are passed over."""
    found: list[str] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(folder).relative_to(root).as_posix()
        prefix = "" if below == "." else f"{below}/"
        found.extend(f"{prefix}{name}" for name in names if _is_film(folder, name))
    return sorted(found)


def _is_film(folder: str, name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".") and not Path(folder, name).is_symlink()


def list_films(root: Path, folders: Iterable[str]) -> dict[str, str]:
    """Return file name -> path below the root for the files of the given folders; the first folder wins."""
    inside = _Inside(root)
    found: dict[str, str] = {}
    for folder in folders:
        if inside.folder(folder):
            for name in _list_folder(inside, folder):
                found.setdefault(name, f"{folder}/{name}" if folder else name)
    return found


def _leaves_root(path: object, where: str) -> str:
    return f"{where}: path {show(path)} leaves the root: give paths below it, or the folder that holds them as ROOT."
