"""Files that are either old or new, never half-written: written aside, flushed, then renamed.

A file that is read back carries the hash of its own content, a JSON object under a key and a YAML text in
its last line; a folder's manifest has those of its files.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

OWN_HASH = "sha256"
"""Key of a JSON object with the hash of all its other keys."""
CHANGED = "it does not match its own SHA-256"
HASH_LINE = "# sha256 "
"""Beginning of a text's last line, a comment in YAML, with the hash of the lines before."""


@contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Give a path to write to; on leaving without an error it is flushed to disk and becomes ``path``.

    What a killed process left aside of the same path is removed.

    Args:
        path: To be replaced.
        private: Whether its owner alone may read it, from the first byte on.
    """
    _clear_killed(path)
    aside = path.with_name(f".{_stem(path)}.{os.getpid()}.part")
    handle = os.open(aside, os.O_RDWR | os.O_CREAT, 0o600 if private else 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # by which a process that still writes is known
        yield aside
        if not private:
            _share(aside)
        sync(aside)
        aside.replace(path)
        sync(path.parent)
    finally:
        os.close(handle)
        aside.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill; on leaving without an error its files are flushed and it becomes ``path``.

    An older folder of that name is replaced, and what a killed process left aside of it removed.
    """
    _clear_killed(path)
    aside = path.with_name(f".{_stem(path)}.{os.getpid()}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    handle = os.open(aside, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield aside
        for file in aside.iterdir():
            _share(file)
            sync(file)
        sync(aside)
        old = path.with_name(f".{_stem(path)}.{os.getpid()}.old")
        if path.exists():
            path.rename(old)
        aside.rename(path)
        sync(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        os.close(handle)
        shutil.rmtree(aside, ignore_errors=True)


def _stem(path: Path) -> str:
    """Return a path's name, or a hash where no room is left for more in the 255 bytes of a file's name."""
    name = os.fsencode(path.name)
    return path.name if len(name) <= 200 else hashlib.sha256(name).hexdigest()


def _clear_killed(path: Path) -> None:
    """Remove what processes left aside of a path that were killed: those that still write hold a lock."""
    name = glob.escape(_stem(path))
    for left in (*path.parent.glob(f".{name}.*.part"), *path.parent.glob(f".{name}.*.old")):
        with suppress(OSError):
            handle = os.open(left, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            finally:
                os.close(handle)


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


def write_hashed_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file's content by a JSON object with the hash of its content, in place of an older one."""
    content = {key: value for key, value in content.items() if key != OWN_HASH}
    content = json.loads(canonical_json(content))  # as it will be read: keys become texts
    write_json(path, {**content, OWN_HASH: content_hash(content)})


def read_hashed_json(path: Path, most: int = 2**25) -> tuple[dict[str, Any], bool]:
    """Return the JSON object in a file, without its own hash, and whether it had one.

    Earlier versions wrote files without.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no JSON object, larger than ``most`` bytes, or not what its hash says.
    """
    content = read_json(path, most)
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__} is no JSON object")
    hashed = OWN_HASH in content
    if hashed and content.pop(OWN_HASH) != content_hash(content):
        raise ValueError(CHANGED)
    if not hashed and any(_is_hash_of_others(key, content) for key in content):
        raise ValueError(CHANGED)  # the key itself is what changed
    return content, hashed


def _is_hash_of_others(key: str, content: Mapping[str, Any]) -> bool:
    """Whether a key holds the hash of all the others."""
    value = content[key]
    if not (isinstance(value, str) and len(value) == 64):
        return False
    return value == content_hash({other: content[other] for other in content if other != key})


def write_hashed_text(path: Path, text: str) -> None:
    """Replace a file's content by whole lines of a text and a last line with their hash."""
    write_bytes(path, f"{text}{_hash_line(text)}".encode())


def read_hashed_text(path: Path) -> tuple[str, bool]:
    """Return the text in a file, without the line of its own hash, and whether it had one.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no UTF-8, or not what its hash says.
    """
    text = path.read_bytes().decode()
    before, hashed, _ = text.rpartition(HASH_LINE)
    last = text[text[:-1].rfind("\n") + 1 :]
    if not hashed and not (last[:1] == "#" and len(last) == len(_hash_line(""))):
        return text, False
    if text != before + _hash_line(before) or before[-1:] != "\n":
        raise ValueError(CHANGED)
    return before, True


def unhashed(folder: Path, names: Iterable[str]) -> list[str]:
    """Return which of these files are JSON objects or texts without their own hash; damaged ones have one."""
    lacking = []
    for name in names:
        read = read_hashed_json if name.endswith(".json") else read_hashed_text
        with suppress(OSError, ValueError):
            if not read(folder / name)[1]:
                lacking.append(name)
    return lacking


def age_line(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Return a line for the user on files of a folder that have no hash; none where all have."""
    if not names:
        return ()
    line = f"{folder} was written by an earlier version without a hash of {', '.join(names)}: "
    return (f"{line}changes there are not noticed",)


def _hash_line(text: str) -> str:
    return f"{HASH_LINE}{hashlib.sha256(text.encode()).hexdigest()}\n"


MOST_JSON = 2**25
"""Bytes of a JSON file, at most; the largest of our own beside splits have a tenth of it."""
_MOST_BRACKETS = 2**21


def read_json(path: Path, most: int = MOST_JSON) -> Any:
    """Return what a JSON file holds; NaN and infinity are no JSON.

    What would take much memory is refused before it is parsed.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no JSON, or larger than ``most`` bytes.
    """
    if (size := path.stat().st_size) > most:
        raise ValueError(f"{size} bytes, at most {most} are read")
    content = path.read_bytes()
    if content.count(b"[") + content.count(b"{") > _MOST_BRACKETS:
        raise ValueError(f"more than {_MOST_BRACKETS} brackets")
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("brackets too deep") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def most_zip_entries(path: Path) -> int:
    """Return how many entries a zip archive can have, from the size of its directory, which is not read.

    A directory of a million names takes seconds and a gigabyte to read.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - _LARGEST_ZIP_END))
        tail = file.read()
        at = tail.rfind(b"PK\5\6")
        if at < 0 or at + 22 > len(tail):
            return 0
        size = int.from_bytes(tail[at + 12 : at + 16], "little")
        locator = tail[max(0, at - 20) : at]
        if locator.startswith(b"PK\6\7"):  # of a large archive, whose directory's size is elsewhere
            file.seek(int.from_bytes(locator[8:16], "little"))
            size = max(size, int.from_bytes(file.read(56)[40:48], "little"))
    return min(size, length) // 46


_LARGEST_ZIP_END = 2**16 + 64
"""Bytes at the end of an archive among which its end record is: the record, a comment, a locator."""


def content_hash(value: Any) -> str:
    """Return the hex SHA-256 of a value's JSON, whatever its layout and the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file below a folder, whose name was read from a file.

    Raises:
        ValueError: The name is no relative path below, or a link there leads out of the folder.
    """
    if not isinstance(name, str) or not is_plain_path(name):
        raise ValueError(f"{name!r:.60} is no name of a file below {folder}")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{path} is a link that leads out of {folder}")
    return path


def refuse_links_out(folder: Path, names: Iterable[str]) -> None:
    """Raise a ValueError for a link that leads out of a folder, among these names in it and all below them."""
    for name in names:
        path = folder / name
        if path.is_symlink():
            inside(folder, name)
        elif path.is_dir():
            refuse_links_out(folder, (f"{name}/{entry.name}" for entry in sorted(path.iterdir())))


def is_plain_path(name: str) -> bool:
    """Whether a text is a relative path without ``..``, on any system.

    >>> [is_plain_path(name) for name in ("runs/moco", "../runs", "/runs", "C:/runs", "a/./b", "")]
    [True, False, False, False, False, False]
    """
    return all(is_plain_name(part) for part in name.split("/"))


def is_plain_name(name: str) -> bool:
    """Whether a text is the name of one file or folder, on any system.

    >>> [is_plain_name(name) for name in ("nih14", "a/b", chr(92), "..", "C:x", chr(0))]
    [True, False, False, False, False, False]
    """
    return (
        name not in ("", ".", "..")
        and name.isprintable()
        and not any(letter in "/\\" for letter in name)
        and name[1:2] != ":"
    )


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


def file_hashes(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the hex SHA-256 of files of a folder by name: what its manifest holds."""
    return {name: sha256(folder / name) for name in names}


def read_hashes(manifest: Path) -> dict[str, str] | None:
    """Return what ``file_hashes`` wrote into a manifest; None where there is none.

    Raises:
        ValueError: It is not as it was written.
    """
    if not manifest.is_file():
        return None
    hashes = read_json(manifest)
    if not isinstance(hashes, dict) or manifest.read_bytes() != canonical_json(hashes):
        raise ValueError(f"{manifest.name} is not as it was written")
    return hashes
