"""Films that a table names otherwise than the disk does: found where one file fits, else named."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hilum.arrays import BoolArray
from hilum.counts import counted
from hilum.sources.masks import in_masks
from hilum.sources.paths import (
    EXTENSIONS,
    NOT_ON_DISK,
    find_films,
    list_films,
    on_disk,
    other_files,
)

_MOST_LOOKED_AT = 20_000
"""Entries of the disk that are compared for the nearest file of an error line."""
_DEEPEST = 3
"""Last parts of a path by which films are looked up in any folder: patient, study and film."""


class Looked(NamedTuple):
    """Where a table's films lie."""

    paths: list[str]
    """[N] paths below the root, as the disk spells them where the film is there."""
    there: BoolArray
    """[N] whether the film is on disk."""
    notes: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """The paths that are not on disk."""
        return tuple(self.paths[row] for row in np.flatnonzero(~self.there))

    @property
    def excluded(self) -> dict[str, int]:
        """Number of films that are not on disk, by that reason; empty where there are none."""
        return {NOT_ON_DISK: int((~self.there).sum())} if not self.there.all() else {}


def look_up(root: Path, paths: Sequence[str]) -> Looked:
    """Find a table's films below the root.

    A path that is not there as it stands is taken for another spelling of a file: without its
    ending or with another image's, in other letter case or Unicode form, with the root's own name
    or other folders in front; then for the end of a file's path, whatever folders lie above. It is
    found where exactly one file fits that no other path names.

    Args:
        root: The folder of the set.
        paths: [N] POSIX paths below it, none twice.

    Raises:
        DataError: A path leads out of the root through a symbolic link.
    """
    there = on_disk(root, paths)
    if there.all():
        return Looked(list(paths), there, ())
    disk = _Disk(root)
    lost = np.flatnonzero(~there).tolist()
    fits = {row: disk.fitting(paths[row]) for row in lost}
    below = _by_end(root, [paths[row] for row in lost if not fits[row]])
    fits |= {row: below[paths[row]] or disk.tail(paths[row]) for row in lost if not fits[row]}
    taken = {path for path, exists in zip(paths, there, strict=True) if exists}
    claims = Counter(files[0] for files in fits.values() if len(files) == 1)
    spelt, found = list(paths), there.copy()
    for row, files in fits.items():
        if len(files) == 1 and files[0] not in taken and claims[files[0]] == 1:
            spelt[row], found[row] = files[0], True
    return Looked(spelt, found, _notes(root, paths, spelt, found, lost, fits))


def look_up_names(root: Path, names: Sequence[str], folders: Sequence[str]) -> Looked:
    """Find films by their file names alone, in any of the given folders below the root; the first folder wins.

    As `look_up` does, a name is taken for another spelling, or for a file in any other folder, where
    exactly one file fits.

    Raises:
        DataError: A film leads out of the root through a symbolic link.
    """
    films = list_films(root, folders)
    there = np.array([name in films for name in names], bool)
    spelt = [films.get(name, name) for name in names]
    if there.all():
        return Looked(spelt, there, ())
    spare: dict[str, list[str]] = {}
    for name in films.keys() - set(names):
        for form in {fold(name), fold(stem(name))} if stem(name) != name else ():
            spare.setdefault(form, []).append(films[name])
    lost = np.flatnonzero(~there).tolist()
    fits = {row: spare.get(fold(names[row]), []) for row in lost}
    below = _by_end(root, [names[row] for row in lost if not fits[row]])
    fits |= {row: below[names[row]] for row in lost if not fits[row]}
    claims = Counter(files[0] for files in fits.values() if len(files) == 1)
    for row in lost:
        if len(fits[row]) == 1 and claims[fits[row][0]] == 1:
            spelt[row], there[row] = fits[row][0], True
    return Looked(spelt, there, _notes(root, names, spelt, there, lost, fits))


def _notes(
    root: Path,
    paths: Sequence[str],
    spelt: Sequence[str],
    found: BoolArray,
    lost: Sequence[int],
    fits: Mapping[int, Sequence[str]],
) -> tuple[str, ...]:
    notes = []
    others = [row for row in lost if found[row]]
    if others:
        notes.append(
            f"{counted(len(others), 'film is', 'films are')} named otherwise in the table than on disk and "
            f"{'was' if len(others) == 1 else 'were'} found, "
            f"first {_quoted(paths[others[0]])} as {_quoted(spelt[others[0]])}"
        )
    if not found.all():
        row = int((~found).argmax())
        notes.append(missing_note(root, paths[row], int((~found).sum()), fits[row]))
    return tuple(notes)


def missing_note(root: Path, path: str, count: int, fits: Sequence[str] = ()) -> str:
    """Return a note on films that are not on disk, with one that was looked for and the nearest file there."""
    line = f"{NOT_ON_DISK}: {counted(count, 'film')}; looked for {_quoted(path)}"
    if len(fits) > 1:
        return (
            f"{line}, which both {_quoted(fits[0])} and {_quoted(fits[1])} fit: take one of them away, "
            "or name its folder (`prepare folder` has --path-folder)"
        )
    if fits:
        return f"{line}; {_quoted(fits[0])} fits, which another row names too"
    near = _nearest(root, path)
    return (
        f"{line}, the nearest file there is {_quoted(near)}"
        if near
        else f"{line}, no film is there.{other_files(root)}".removesuffix(".")
    )


def fold(name: str) -> str:
    """Return a name in one letter case and one Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def stem(name: str) -> str:
    """Return a film's file name without the ending of an image."""
    ending = next((end for end in EXTENSIONS if name.lower().endswith(end)), "")
    return name[: len(name) - len(ending)]


def _by_end(root: Path, paths: Sequence[str]) -> dict[str, list[str]]:
    """Return the films below the root whose path ends with each of these paths, in any folder; masks only for masks.

    The endings of images may differ, unless one film has the path's own.
    """
    found: dict[str, list[str]] = {path: [] for path in paths}
    if not found:
        return found
    ends = {path: _end(path, min(path.count("/") + 1, _DEEPEST)) for path in paths}
    ended = {end: list[str]() for end in ends.values()}
    depths = {end.count("/") + 1 for end in ended}
    for film in find_films(root):
        for depth in depths:
            if (end := _end(film, depth)) in ended:
                ended[end].append(film)
    for path, end in ends.items():
        whole = f"/{fold(stem(path))}"
        films = [film for film in ended[end] if f"/{fold(stem(film))}".endswith(whole)]
        own = [film for film in films if fold(film).endswith(f"/{fold(path)}")]
        films = own or films
        found[path] = films if in_masks(path) else [f for f in films if not in_masks(f)]
    return found


def _end(path: str, depth: int) -> str:
    """Return the last parts of a path, folded, without the ending of an image."""
    return "/".join(fold(stem(path)).rsplit("/", depth)[-depth:])


class _Disk:
    """Files and folders below a root by their folded names; links are passed over."""

    def __init__(self, root: Path) -> None:
        self._root = root
        above = [part for part in root.resolve().parts if part != "/"]
        self._fronts = [
            [fold(part) for part in above[-count:]] for count in range(1, len(above) + 1)
        ]
        self.entries = cache(self._entries)

    def fitting(self, path: str) -> list[str]:
        """Return the files that a path may mean: those of its own place first, then of the root's name in front."""
        parts = path.split("/")
        for start in self._starts(parts):
            if files := self._walk(start):
                return files
        return []

    def tail(self, path: str) -> list[str]:
        """Return the files at the root that are the path without some of its first folders, the fewest that do."""
        parts = path.split("/")
        for start in range(1, len(parts)):
            if files := self._walk(parts[start:]):
                return files
        return []

    def _starts(self, parts: list[str]) -> Iterator[list[str]]:
        yield parts
        folded = [fold(part) for part in parts]
        for front in self._fronts:
            if len(front) < len(parts) and folded[: len(front)] == front:
                yield parts[len(front) :]

    def _walk(self, parts: list[str]) -> list[str]:
        folders = [""]
        for part in parts[:-1]:
            folders = [
                below for folder in folders for below in self.entries(folder)[0].get(fold(part), ())
            ]
        name = fold(parts[-1])
        # The whole name, one without its ending, one with another image's.
        for kind, form in ((1, name), (2, name), (2, fold(stem(parts[-1])))):
            files = [
                file for folder in folders for file in self.entries(folder)[kind].get(form, ())
            ]
            if files:
                return files
        return []

    def _entries(self, folder: str) -> tuple[dict[str, list[str]], ...]:
        """Return folders by name, files by name and films by name without ending."""
        found = tuple(defaultdict[str, list[str]](list) for _ in range(3))
        try:
            with os.scandir(self._root / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        found[0][fold(entry.name)].append(path)
                    elif entry.is_file(follow_symlinks=False):
                        found[1][fold(entry.name)].append(path)
                        if (bare := stem(entry.name)) != entry.name:
                            found[2][fold(bare)].append(path)
        except OSError:
            return found
        return found


def _nearest(root: Path, path: str) -> str:
    """Return the film below the root that is most like a path; the first looked-at ones are compared."""
    name = path.rpartition("/")[2]
    films: dict[str, str] = {}
    looked_at = 0
    for folder, folders, names in os.walk(root):
        folders.sort()
        below = Path(folder).relative_to(root).as_posix()
        for film in sorted(names):
            if film.lower().endswith(EXTENSIONS):
                films.setdefault(film, film if below == "." else f"{below}/{film}")
        looked_at += len(names) + len(folders)
        if looked_at > _MOST_LOOKED_AT:
            break
    same = next((film for film in films if fold(stem(film)) == fold(stem(name))), None)
    close = [same] if same else get_close_matches(name, list(films)[:2000], n=1, cutoff=0.5)
    return films[close[0]] if close else next(iter(films.values()), "")


def _quoted(path: str) -> str:
    return repr(path if len(path) <= 160 else f"…{path[-160:]}")
