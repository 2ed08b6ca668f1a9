"""Files that are either old or new, never half-written: written aside, flushed, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to; on leaving without an error it is flushed to disk and becomes ``path``."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield aside
        _share(aside)
        sync(aside)
        aside.replace(path)
        sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill; on leaving without an error its files are flushed and it becomes ``path``.

    An older folder of that name is replaced.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        for file in aside.iterdir():
            _share(file)
            sync(file)
        sync(aside)
        old = path.with_name(f".{path.name}.{os.getpid()}.old")
        if path.exists():
            path.rename(old)
        aside.rename(path)
        sync(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed process left written aside in a folder; call it where no other process writes there."""
    for path in [*folder.glob(".*.part"), *folder.glob(".*.old")]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _share(file: Path) -> None:
    """Give a file the rights that the user's umask allows; some libraries write for the owner's eyes alone."""
    mask = os.umask(0)
    os.umask(mask)
    file.chmod(0o666 & ~mask if file.is_file() else 0o777 & ~mask)


def sync(path: Path) -> None:
    """Flush a file or a folder's entries to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file's content atomically."""
    with replacing(path) as aside:
        aside.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Replace a file's content by canonical JSON: equal values give equal bytes."""
    write_bytes(path, canonical_json(value))


def canonical_json(value: Any) -> bytes:
    """Return a value as sorted, indented UTF-8 JSON; NaN is refused."""
    return (_indented(value, "\n") + "\n").encode()


def _indented(value: Any, line: str) -> str:
    """Return what ``json.dumps`` with an indent of 1 does; ``line`` is a line feed and the indent so far.

    With an indent, json (Python 3.11) does not use its C code, and the patients of a large split
    take seconds: lists of texts are given to it in one.
    """
    inner = f"{line} "
    if isinstance(value, dict) and value and all(isinstance(key, str) for key in value):
        items = [f"{_plain_json(key)}: {_indented(value[key], inner)}" for key in sorted(value)]
        return f"{{{inner}{f',{inner}'.join(items)}{line}}}"
    if isinstance(value, list) and set(map(type, value)) == {str}:
        texts = json.dumps(value, ensure_ascii=False, separators=(f",{inner}", ": "))
        return f"[{inner}{texts[1:-1]}{line}]"
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.replace("\n", line)  # within a text a line feed is escaped


def _plain_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
