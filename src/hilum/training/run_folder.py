"""The run folder: options, log, checkpoints and model of one run, held by one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hilum.errors import HilumError, RunError
from hilum.files import clear_leftovers, read_hashed_json, write_bytes, write_hashed_json
from hilum.options import ADDED, with_new_names

OPTIONS, LOG, METRICS, CHECKPOINTS, MODEL = (
    "options.yaml",
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
        """Record the run's results; after this it counts as done."""
        write_hashed_json(self.path / METRICS, metrics)

    def metrics(self) -> dict[str, Any]:
        """Return the recorded results."""
        return read_metrics(self.path)


@contextmanager
def open_run(path: Path, options: Mapping[str, Any]) -> Iterator[RunFolder]:
    """Open a new run, or an old one with the same options, for this process alone.

    Raises:
        RunError: The folder holds a run with other options, something else, or a run in progress.
    """
    _make(path)
    text = yaml.safe_dump(dict(options), sort_keys=False, allow_unicode=True)
    with (path / ".lock").open("w", encoding="utf-8") as lock:
        hold(lock.fileno(), path)
        clear_leftovers(path)
        _same_options(path, text)
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
        RunError: A line is damaged.
    """
    log = path / LOG
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
        return read_hashed_json(path / METRICS)[0]
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise RunError(
            f"{path / METRICS} is damaged: delete it, and run the command that made {path} again."
        ) from error


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


def _same_options(path: Path, text: str) -> None:
    known, ours = path / OPTIONS, {".lock", PSEUDO_LABELS}
    if known.is_file():
        written = _read_options(known)
        old = {name: with_new_names(name, block) for name, block in written.items()}
        today = yaml.safe_load(text)
        old = _with_moved_data(old, today)
        differing = difference(old, today)
        if differing and _begun(path):
            raise RunError(
                f"{path} holds a run with other options ({differing}): give the same, or another --out."
            )
        if not differing:
            if old != written:  # the other ranks read this file as a config, under today's names
                write_bytes(known, text.encode())
            return
        ours |= {OPTIONS, SPLITS, CROPS, TEACHER} if "record" in old else set()
    others = sorted(file.name for file in path.iterdir() if file.name not in ours)
    if others:
        raise RunError(
            f"{path} holds {others[0]!r} and is no run: choose an empty or new folder as --out."
        )
    write_bytes(known, text.encode())


def _with_moved_data(old: dict[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return old options with the new paths of stores and tables whose recorded hashes are the same."""
    before, now = (tree.get("record") or {} for tree in (old, new))
    moved: set[str] = set()
    if before.get("data") and before["data"] == now.get("data"):
        moved |= {"data", "unlabelled"}
    if before.get("pseudo_labels") and before["pseudo_labels"] == now.get("pseudo_labels"):
        moved.add("pseudo_labels")

    def renewed(block: Any, other: Any) -> Any:
        if not isinstance(block, dict) or not isinstance(other, dict):
            return block
        return {
            key: other[key]
            if key in moved and _as_many(value, other.get(key))
            else renewed(value, other.get(key))
            for key, value in block.items()
        }

    return {name: renewed(block, new.get(name)) for name, block in old.items()}


def _as_many(paths: Any, others: Any) -> bool:
    """Whether both are paths, or lists of as many."""
    if isinstance(paths, list) and isinstance(others, list):
        return len(paths) == len(others)
    return isinstance(paths, str) and isinstance(others, str)


MOST_YAML = 2**20
"""Bytes of options, at most; PyYAML reads some 100 kB a second."""
_MOST_VALUES = 100_000


def read_yaml(path: Path) -> Any:
    """Return what a YAML file of a run or study holds.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no YAML, or too large, also by names that stand for others again and again.
    """
    if (size := path.stat().st_size) > MOST_YAML:
        raise ValueError(f"{size} bytes, at most {MOST_YAML} are read")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        counts: dict[int, float] = {}
        if _values(content, counts) > _MOST_VALUES:
            raise ValueError(f"more than {_MOST_VALUES} values")
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    return content


def _values(content: Any, counts: dict[int, float]) -> float:
    """Return how many values a tree has, those that stand in several places counted in each."""
    inner = content.values() if isinstance(content, dict) else content
    if not isinstance(content, (dict, list)):
        return 1
    if id(content) not in counts:
        counts[id(content)] = float("inf")  # what is met again inside itself has no end
        counts[id(content)] = 1 + sum(_values(value, counts) for value in inner)
    return counts[id(content)]


def _read_options(known: Path) -> dict[str, Any]:
    try:
        old = read_yaml(known)
    except ValueError as error:
        raise RunError(f"{known} is damaged: start again in another --out.") from error
    return old if isinstance(old, dict) else {}


def _begun(path: Path) -> bool:
    """Whether training ever began there: an earlier refusal left nothing worth keeping."""
    return any((path / name).is_file() for name in (LOG, METRICS, f"{TEACHER}/{LOG}"))


def _leave_nothing(path: Path) -> None:
    """Remove the files of a run that was refused before it began, so that the corrected command can start."""
    if _begun(path):
        return
    (path / OPTIONS).unlink(missing_ok=True)
    (path / CROPS).unlink(missing_ok=True)
    for folder in (SPLITS, TEACHER):
        shutil.rmtree(path / folder, ignore_errors=True)
    (path / ".lock").unlink(missing_ok=True)
    if not any(path.iterdir()):
        path.rmdir()


def difference(old: Any, new: Any) -> str:
    """Return the differences of two trees of options in words, three at most; empty if there are none."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    names = [
        name
        for name in {**before, **after}
        if not _alike(name, before.get(name), after.get(name))
        and not (name not in before and name.endswith(ADDED))
    ]
    shown = ", ".join(
        f"{name}: {before.get(name)!r} there, {after.get(name)!r} now" for name in names[:3]
    )
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _alike(name: str, before: Any, after: Any) -> bool:
    """Whether two values are equal; the path of ``init`` may be relative or absolute."""
    if name.rpartition(".")[2] == "init" and isinstance(before, str) and isinstance(after, str):
        return before == after or Path(before).resolve() == Path(after).resolve()
    return bool(before == after)


def _leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, tree


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
