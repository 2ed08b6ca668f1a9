"""The run folder: options, log, checkpoints and model of one run, held by one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.errors import HilumError, RunError
from hilum.files import (
    clear_leftovers,
    file_hashes,
    inside,
    read_hashed_json,
    refuse_links_out,
    sha256,
    unhashed,
    write_hashed_json,
)
from hilum.options import with_new_names
from hilum.training.options_file import (
    OPTIONS,
    as_written,
    difference,
    read_options_file,
    with_moved_paths,
    write_options,
)

LOG, METRICS, CHECKPOINTS, MODEL = (
    "log.jsonl",
    "metrics.json",
    "checkpoints",
    "model",
)
SPLITS = "splits"
PSEUDO_LABELS = "pseudo-labels.parquet"
"""A table that a run learns from, which may lie in its folder before it begins."""
CROPS = "crops.png"
"""The method's crops of a few films, drawn when a run begins."""
TEACHER = "teacher"
"""The run of the teacher, whose labels the run learns from."""
FOLDS = "folds"
"""The runs of a cross-validation within the labelled patients; removed when the run is finished."""
SCORES = "scores"
"""A fold's scores of the films that it holds out, written as checkpoints are."""
LOCK = ".lock"
FILES = "files"
"""Key of the results: SHA-256 of the log and the crops, which a run reads no more once it is finished."""
OURS = (
    *(LOCK, OPTIONS, LOG, METRICS, CHECKPOINTS, MODEL, SPLITS, PSEUDO_LABELS, CROPS, TEACHER),
    FOLDS,
    *("rounds", "rounds.json", "explained"),
)
"""What a run's folder holds, beside predictions."""


@dataclass(frozen=True)
class RunFolder:
    """Paths and records of one run."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def model(self) -> Path:
        """Folder of the finished model."""
        return self.path / MODEL

    @property
    def done(self) -> bool:
        """Whether training has finished; an evaluation of the model alone does not count."""
        return "training" in self.metrics()

    def log(self, **event: Any) -> None:
        """Append one event to the log; numbers that are not finite become null."""
        line = json.dumps(
            {key: _json_value(value) for key, value in event.items()}, ensure_ascii=False
        )
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def events(self) -> list[dict[str, Any]]:
        """Return the log, see ``read_log``."""
        return read_log(self.path)

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Record the run's results with the hashes of FILES; after this it counts as done."""
        written = [name for name in (LOG, CROPS) if (self.path / name).is_file()]
        hashes = {FILES: file_hashes(self.path, written)} if written else {}
        write_hashed_json(self.path / METRICS, {**metrics, **hashes})

    def metrics(self) -> dict[str, Any]:
        """Return the recorded results."""
        return read_metrics(self.path)


@contextmanager
def open_run(path: Path, options: Mapping[str, Any]) -> Iterator[RunFolder]:
    """Open a new run, or an old one with the same options, for this process alone.

    Raises:
        RunError: The folder holds a run with other options, something else, or a run in progress, or
            a file of it is a link that leads out.
    """
    _make(path)
    _refuse_links(path)
    with (path / LOCK).open("w", encoding="utf-8") as lock:
        hold(lock.fileno(), path)
        clear_leftovers(path)
        _same_options(path, options)
        _mend_log(path / LOG)
        try:
            yield RunFolder(path)
        except HilumError:
            _leave_nothing(path)
            raise


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the events of a run's log in the order of their steps.

    Of a step logged twice, before and after a kill, only the later line counts. Events after the
    step that a resume started from, and an incomplete last line, do not count.

    Raises:
        RunError: A line is damaged, or the log lies outside of the folder.
    """
    log = own_file(path, LOG)
    if not log.is_file():
        return []
    events: dict[tuple[str, int, str], dict[str, Any]] = {}
    content = log.read_bytes()
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            event = json.loads(line)
            has_step = "step" in event
            name = event.get("event", "step") if has_step else event["event"]
            step = event["step"] if has_step else -number
            key = (name, step, event.get("kind", ""))
            if name == "resumed":
                events = {
                    earlier: kept
                    for earlier, kept in events.items()
                    if earlier[0] == "resumed"
                    or not (isinstance(earlier[1], int) and earlier[1] > step)
                }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{log} is damaged in line {number}: mend or remove that line."
            ) from error
        events[key] = event
    return list(events.values())


def read_metrics(path: Path) -> dict[str, Any]:
    """Return a run's recorded results, nothing if there are none.

    Raises:
        RunError: They are damaged.
    """
    try:
        return read_hashed_json(own_file(path, METRICS))[0]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise RunError(
            f"{path / METRICS} is damaged: delete it, and run the command that made {path} again."
        ) from error


def changed_files(path: Path, metrics: Mapping[str, Any]) -> list[str]:
    """Return which of the files that a run's results vouch for are there and not what was written.

    Raises:
        RunError: One lies outside of the folder.
    """
    hashes = metrics.get(FILES) or {}
    return [
        name
        for name in (LOG, CROPS)
        if name in hashes and own_file(path, name).is_file() and sha256(path / name) != hashes[name]
    ]


def unhashed_files(path: Path) -> list[str]:
    """Return the files of a run whose changes are not noticed: those of 0.1.0 have no hash."""
    names = unhashed(path, [OPTIONS, METRICS])
    with suppress(RunError):  # damaged results are told of where they are read
        metrics = read_metrics(path)
        hashes = metrics.get(FILES) or {}
        names += [
            name
            for name in (LOG, CROPS)
            if "training" in metrics and name not in hashes and (path / name).is_file()
        ]
    return names


def own_file(path: Path, name: str) -> Path:
    """Return the place of a file or folder of a run.

    Raises:
        RunError: It is a link that leads out of the run's folder.
    """
    try:
        return inside(path, name)
    except ValueError as error:
        raise RunError(f"{error}: put a copy in its place, which leads nowhere.") from error


def _refuse_links(path: Path) -> None:
    predictions = sorted(file.name for file in path.glob("predictions-*"))
    try:
        refuse_links_out(path, (*OURS, *predictions))
    except ValueError as error:
        raise RunError(f"{error}: what is written there would leave the run's folder.") from error


@contextmanager
def changed_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """Give a run's recorded results to add to; on leaving without an error they are written.

    Another process that adds at the same time waits for this one, so that no result is lost.

    Raises:
        RunError: They are damaged, or cannot be written.
    """
    try:
        handle = os.open(path, os.O_RDONLY)  # the folder: a lock file would be one more to pass on
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            metrics = read_metrics(path)
            yield metrics
            write_hashed_json(path / METRICS, metrics)
        finally:
            os.close(handle)
    except OSError as error:
        raise RunError(
            f"{path / METRICS} cannot be written ({error.strerror}): the result is not kept."
        ) from error


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{path} cannot be a run folder ({error.strerror}): choose another --out."
        ) from error


def hold(handle: int, path: Path) -> None:
    """Lock a folder's open lock file for this process.

    Raises:
        RunError: Another process holds it.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError(
            f"{path} is in use by another process: wait for it, or choose another --out."
        ) from error


def _same_options(path: Path, options: Mapping[str, Any]) -> None:
    ours, today = {LOCK, PSEUDO_LABELS}, as_written(options)
    if (path / OPTIONS).is_file():
        written, _ = read_options_file(path)
        old = {name: with_new_names(name, block) for name, block in written.items()}
        old = with_moved_paths(old, today)
        differing = difference(old, today)
        began = (old.get("record") or {}).get("init")
        if began and "init" not in today["record"] and _begun(path):
            raise RunError(
                f"{path} began with weights of SHA-256 {began[:8]}, and --init names no file with these: "
                "give --init where they are now."
            )
        if differing and _begun(path):
            raise RunError(
                f"{path} holds a run with other options ({differing}): give the same, or another --out."
            )
        if not differing:
            # The other ranks read this file as a config, under today's names and paths.
            if old != written and not RunFolder(path).done:
                write_options(path, options)
            return
        ours |= {OPTIONS, SPLITS, CROPS, TEACHER, FOLDS} if "record" in old else set()
    others = sorted(file.name for file in path.iterdir() if file.name not in ours)
    if others:
        raise RunError(
            f"{path} holds {others[0]!r} and is no run: choose an empty or new folder as --out."
        )
    write_options(path, options)


def _begun(path: Path) -> bool:
    """Whether training ever began there: an earlier refusal left nothing worth keeping."""
    return any(
        (path / name).is_file()
        for name in (LOG, METRICS, f"{TEACHER}/{LOG}", f"{FOLDS}/fold-1/{LOG}")
    )


def _leave_nothing(path: Path) -> None:
    """Remove the files of a run that was refused before it began, so that the corrected command can start."""
    if _begun(path):
        return
    (path / OPTIONS).unlink(missing_ok=True)
    (path / CROPS).unlink(missing_ok=True)
    for folder in (SPLITS, TEACHER, FOLDS):
        shutil.rmtree(path / folder, ignore_errors=True)
    (path / LOCK).unlink(missing_ok=True)
    if not any(path.iterdir()):
        path.rmdir()


def _mend_log(log: Path) -> None:
    """Remove an incomplete last line, left by a kill."""
    if log.is_file():
        with log.open("rb+") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                file.truncate(whole)
                os.fsync(file.fileno())


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not (value == value and abs(value) != float("inf")):
        return None
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return value
