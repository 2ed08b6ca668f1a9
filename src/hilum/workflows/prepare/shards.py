"""Shards while they are written, and the record that each leaves for a resumed run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, cast

import numpy as np

from hilum.errors import RunError
from hilum.files import read_hashed_json, sha256, sync, write_hashed_json
from hilum.images.decoding.pool import Job, Outcome
from hilum.images.film_check import STRANGE
from hilum.images.store import HEADER_BYTES, ShardEntry
from hilum.images.store_writing import shard_header, shard_name
from hilum.workflows.prepare.plan import Plan


class ShardRecord(TypedDict):
    """The result for every row of one shard."""

    shard: ShardEntry
    pixels: list[str | None]
    """Hash of each row's stored film; None where it failed."""
    sizes: list[tuple[int, int] | None]
    """Original height and width of each row's film; None where it failed."""
    flags: list[str]
    """What each row's film looks like, an entry of `hilum.images.film_check.FLAGS`."""
    notes: list[tuple[str, ...]]
    """What was odd about each row's DICOM file."""
    failures: list[tuple[int, str, str]]
    """Index in the shard, reason, detail."""


class OpenShard:
    """One shard that films are written into, in any order, locked against a second `prepare`."""

    def __init__(self, plan: Plan, number: int) -> None:
        self._plan, self.number = plan, number
        self.rows = plan.shard_rows(number)
        self.file = plan.workplace / f"{shard_name(number)}.part"
        self._outcomes: list[Outcome | None] = [None] * len(self.rows)
        self._missing = len(self.rows)
        self._given = 0
        self._lock = _lock(self.file)
        os.ftruncate(self._lock, HEADER_BYTES + len(self.rows) * self._film_bytes)

    def next_job(self, most: int) -> Job | None:
        """Return the next films to be decoded, None when all are given out."""
        start, stop = self._given, min(self._given + most, len(self.rows))
        if start == stop:
            return None
        self._given = stop
        paths = self._plan.catalog.files_of(self.rows[start:stop].tolist())
        offset = HEADER_BYTES + start * self._film_bytes
        return Job(self.number, str(self.file), start, offset, self._film_bytes, paths)

    def add(self, start: int, outcomes: Sequence[Outcome]) -> bool:
        """Record films' results; return whether the shard is complete."""
        self._outcomes[start : start + len(outcomes)] = outcomes
        self._missing -= len(outcomes)
        return self._missing == 0

    def finish(self) -> None:
        """Close the gaps that failed films left, write the header, flush, rename; leave the record."""
        outcomes = [outcome for outcome in self._outcomes if outcome is not None]
        good = np.flatnonzero([outcome.pixels is not None for outcome in outcomes])
        if len(good) < len(outcomes):
            for new, old in enumerate(good.tolist()):
                if new != old:
                    offset = HEADER_BYTES + old * self._film_bytes
                    film = os.pread(self._lock, self._film_bytes, offset)
                    os.pwrite(self._lock, film, HEADER_BYTES + new * self._film_bytes)
            os.ftruncate(self._lock, HEADER_BYTES + len(good) * self._film_bytes)
        os.pwrite(self._lock, shard_header(len(good), self._plan.preparation.size), 0)
        os.fsync(self._lock)
        final = self._plan.out / shard_name(self.number)
        entry = ShardEntry(file=final.name, films=len(good), sha256=sha256(self.file))
        self.file.replace(final)
        sync(self._plan.out)
        failures = [
            (index, outcome.reason, outcome.detail)
            for index, outcome in enumerate(outcomes)
            if outcome.pixels is None
        ]
        pixels = [outcome.pixels for outcome in outcomes]
        sizes = [outcome.size for outcome in outcomes]
        # A store lists what is inverted or turned; what looks like no chest film is for its data card.
        flags = ["" if outcome.flag == STRANGE else outcome.flag for outcome in outcomes]
        notes = [outcome.notes for outcome in outcomes]
        record = ShardRecord(
            shard=entry, pixels=pixels, sizes=sizes, flags=flags, notes=notes, failures=failures
        )
        write_hashed_json(_record_path(self._plan, self.number), record)
        self.close()

    def close(self) -> None:
        """Close the file, which unlocks it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def _film_bytes(self) -> int:
        return self._plan.preparation.size**2


def read_record(plan: Plan, number: int) -> ShardRecord | None:
    """Return the record of a finished shard, None if it is not finished or its file is not as the record says."""
    try:
        record = cast(ShardRecord, read_hashed_json(_record_path(plan, number))[0])
        length = HEADER_BYTES + record["shard"]["films"] * plan.preparation.size**2
        sound = (plan.out / shard_name(number)).stat().st_size == length
        lengths = {len(record[name]) for name in ("pixels", "sizes", "flags", "notes")}
        whole = lengths == {len(plan.shard_rows(number))}
        return record if sound and whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def unfinished(plan: Plan, numbers: Sequence[int]) -> list[int]:
    """Return which of the shards are still to be done, or are not what was written."""

    def sound(number: int) -> bool:
        record = read_record(plan, number)
        return record is not None and (
            sha256(plan.out / shard_name(number)) == record["shard"]["sha256"]
        )

    return [number for number in numbers if not sound(number)]


def _record_path(plan: Plan, number: int) -> Path:
    return plan.workplace / f"shard-{number:05d}.json"


def _lock(path: Path) -> int:
    """Open a file, made if need be, for this process alone; return its descriptor.

    Raises:
        RunError: Another `prepare` is writing this shard.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = os.path.samestat(os.fstat(handle), path.stat())
    except (BlockingIOError, FileNotFoundError):
        mine = False  # locked, or finished and renamed by its owner a moment ago
    except OSError:
        # A file system without locks: two runs at once would only do the same work twice.
        mine = True
    if not mine:
        os.close(handle)
        raise RunError(
            f"another `hilum prepare` is writing {path}: wait for it, or stop it, and run this again."
        )
    return handle
