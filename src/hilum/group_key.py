"""The secret key of a group, under which names and pixel hashes leave it as pseudonyms.

Who has a model and a list of likely names can hash each of them and compare: a hash without a key hides
nothing. Keyed BLAKE2b over the same names says nothing to whoever lacks the key.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hilum.errors import RunError

VARIABLE = "HILUM_KEY_FILE"
"""Environment variable with the key's path; ``--key-file`` sets it, so worker processes have it too."""
FILE_NAME = "hilum.key"
_MARK = "hilum-key-1"
_OURS = ("manifest.json", "options.yaml", "model.json", "study.json")
"""Files by which a folder is a store, a run, a model or a study: folders that are passed on."""


@dataclass(frozen=True)
class GroupKey:
    """A group's key: equal names get equal pseudonyms under it, in all stores and models of the group."""

    secret: bytes = field(repr=False)
    """32 random bytes."""
    path: Path

    @property
    def id(self) -> str:
        """What tells one key from another without giving it away, 16 hex digits."""
        return self.pseudonyms("key", [b""])[0][:16]

    def pseudonyms(self, kind: str, names: Iterable[bytes]) -> list[str]:
        """Return a pseudonym of each name, 32 hex digits.

        Args:
            kind: What is named, at most 16 ASCII characters, such as ``film``, ``pixels`` or
                ``patient``: equal names of two kinds have different pseudonyms.
            names: The names as bytes.
        """
        keyed = hashlib.blake2b(digest_size=16, key=self.secret, person=kind.encode())
        made = []
        for name in names:
            one = keyed.copy()
            one.update(name)
            made.append(one.hexdigest())
        return made


def group_key(beside: Path, environment: Mapping[str, str] = os.environ) -> GroupKey | None:
    """Return the key of ``--key-file`` or HILUM_KEY_FILE, else that beside a store; None where there is none.

    Args:
        beside: The store. The key is looked for in the folder that holds it, never in the store,
            nor in another store or run around it.
        environment: Has HILUM_KEY_FILE where it was given.

    Raises:
        RunError: The key is damaged, readable by others or inside a store or run, or the file that
            was asked for is missing.
    """
    path = _path(beside, environment)
    if path.exists():
        return _read(path)
    if environment.get(VARIABLE):
        raise RunError(f"the key {path} does not exist: give the --key-file of the store.")
    return None


def made_key(beside: Path, environment: Mapping[str, str] = os.environ) -> GroupKey:
    """Return the key as `group_key` does; a missing one is made, readable by its owner alone.

    Raises:
        RunError: As for `group_key`, or it cannot be made.
    """
    path = _path(beside, environment)
    if not path.exists():
        _make(path)
    return _read(path)


def _path(beside: Path, environment: Mapping[str, str]) -> Path:
    given = environment.get(VARIABLE)
    folder = beside.resolve().parent
    # A demo's key is beside its store, in the folder that becomes its study: a key that is there stays.
    while _is_ours(folder) and not (folder / FILE_NAME).exists():
        folder = folder.parent
    path = Path(given) if given else folder / FILE_NAME
    inside = passed_on(path)
    if inside is not None and given:
        raise RunError(
            f"the key {path} is inside {inside}, which may be passed on: give --key-file elsewhere."
        )
    return path


def passed_on(path: Path) -> Path | None:
    """Return the store, run, model or study that a path lies in, None where it lies in none."""
    return next((above for above in path.resolve().parents if _is_ours(above)), None)


def _is_ours(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _OURS)


def _read(path: Path) -> GroupKey:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(1024)
    except OSError as error:
        raise RunError(f"the key {path} cannot be read ({error.strerror}).") from error
    if stat.S_IMODE(mode) & 0o077:
        raise RunError(
            f"the key {path} can be read by others (mode {stat.S_IMODE(mode):o}): run `chmod 600 {path}`."
        )
    with suppress(ValueError):
        mark, digits, check = content.decode("ascii").split()
        if mark == _MARK and check == _check(digits) and len(digits) == 64:
            return GroupKey(bytes.fromhex(digits), path)
    raise RunError(
        f"the key {path} is damaged: restore it from a copy. Under a new key no earlier model knows its films."
    )


def _make(path: Path) -> None:
    """Write a new key whole or not at all; another process may be making it at the same time."""
    digits = secrets.token_hex(32)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"{_MARK} {digits} {_check(digits)}\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # the other's key is the group's
            os.link(aside, path)
    except OSError as error:
        raise RunError(
            f"the key {path} cannot be made ({error.strerror}): give --key-file in a folder of yours."
        ) from error
    finally:
        with suppress(OSError):
            aside.unlink()


def _check(digits: str) -> str:
    return hashlib.sha256(digits.encode()).hexdigest()[:8]
