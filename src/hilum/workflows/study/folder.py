"""A study's folder: locked for one process, bound to one plan, updated to its evaluation."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml

from hilum.bundle.initialization import weights_hash
from hilum.errors import RunError
from hilum.files import (
    clear_leftovers,
    refuse_links_out,
    write_hashed_text,
)
from hilum.images.films import Films
from hilum.options import plain, with_new_names
from hilum.splits import Split
from hilum.training.options_file import difference, read_yaml
from hilum.training.run_folder import hold
from hilum.version import __version__
from hilum.workflows.study.plan import StudyPlan
from hilum.workflows.study.plan_file import study_block
from hilum.workflows.study.record import (
    ANALYSIS,
    DATA,
    EXPLAINED,
    LOCALISATION,
    PLAN,
    RUNS,
    STUDY,
    TABLES,
    StudyCell,
    StudyRecord,
    StudyStore,
    is_study,
    read_study,
    write_study,
)

PACKAGES = ("torch", "timm", "numpy", "lightning-fabric")
FAULTS = "faults"
"""Folder of tracebacks of runs that ended with an error of the program."""
LOCK = ".lock"
ANNOTATIONS, EVALUATION = "annotations", "evaluation"
"""Keys that no training depends on, so they may change between two calls."""


@contextmanager
def claimed(folder: Path, plan: StudyPlan, beside: Sequence[str]) -> Iterator[None]:
    """Make the folder this study's, or check that it is, and lock it against other processes.

    Args:
        folder: Where to.
        plan: What is studied.
        beside: Names of other files that the folder may hold.

    Raises:
        RunError: It holds something else, a study with another plan, or a study that is running.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{folder} cannot be a study's folder ({error.strerror}): choose another --out."
        ) from error
    ours = {LOCK, STUDY, PLAN, RUNS, FAULTS, *beside}
    others = (
        []
        if (folder / PLAN).is_file()
        else sorted(path.name for path in folder.iterdir() if path.name not in ours)
    )
    if others:
        raise RunError(
            f"{folder} holds {others[0]!r} and is no study: choose an empty or new folder as --out."
        )
    try:
        refuse_links_out(folder, (*sorted(ours), ANALYSIS, LOCALISATION, EXPLAINED, DATA, TABLES))
    except ValueError as error:
        raise RunError(f"{error}: what is written there would leave the study's folder.") from error
    with (folder / LOCK).open("w", encoding="utf-8") as lock:
        hold(lock.fileno(), folder)
        clear_leftovers(folder)
        path = folder / PLAN
        content = plain({"study": study_block(plan), "record": _initial_weights(plan)})
        known = None
        if path.is_file():
            known = kept_plan(folder)
            # Where a store is now does not matter: its films are compared below, in ``recorded``.
            kept = _with_mended_weights(known, content, folder)
            differing = difference(_binding(kept, content), _binding(content, kept))
            if differing:
                raise RunError(
                    f"{folder} holds another study ({differing}): give the same, or another --out."
                )
            content["record"] = _initial_weights_of(kept) | content["record"]
        if known != content:  # new, moved, or with another evaluation or annotations
            write_hashed_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        yield


def _initial_weights(plan: StudyPlan) -> dict[str, str]:
    """Return the SHA-256 of the weights that models and pretrainings start from, of those that are files."""
    starts = {
        **{f"models.{name}": model.init for name, model in plan.models.items()},
        **{f"pretrain.{method}": row.options.init for method, row in plan.pretrain.items()},
    }
    hashes = {name: weights_hash(init) for name, init in starts.items() if init is not None}
    return {name: digest for name, digest in hashes.items() if digest is not None}


def _initial_weights_of(content: Any) -> dict[str, Any]:
    """Return the same as a plan's file has it; earlier versions wrote none."""
    record = content.get("record") if isinstance(content, dict) else None
    return record if isinstance(record, dict) else {}


def _with_mended_weights(known: Any, content: Any, folder: Path) -> Any:
    """Return a plan's file without the hashes of weights that no run began with.

    A file that could not be read may be replaced by a better one; one that a run began with may not.
    """
    cells = read_study(folder).cells if is_study(folder) else ()
    begun = [cell for cell in cells if (folder / cell.run).is_dir()]
    used = {f"models.{cell.model}" for cell in begun} | {
        f"pretrain.{cell.method}" for cell in begun
    }
    now = _initial_weights_of(content)
    mended = {
        name: digest if name in used else now.get(name, digest)
        for name, digest in _initial_weights_of(known).items()
    }
    return {**known, "record": mended} if isinstance(known, dict) and mended else known


def kept_plan(folder: Path) -> Any:
    """Return what ``study.yaml`` of a study holds.

    Raises:
        RunError: It is missing or damaged.
    """
    try:
        return read_yaml(folder, PLAN)[0]
    except OSError as error:
        raise RunError(f"{folder} holds no study ({PLAN}: {error.strerror}).") from error
    except ValueError as error:
        raise RunError(
            f"{folder / PLAN} is damaged ({error!s:.160}): delete it, and give the same plan again."
        ) from error


def recorded(plan: StudyPlan, films: Films, cells: tuple[StudyCell, ...], jobs: int) -> StudyRecord:
    """Return the study's record, updated to its plan, or a new record.

    Raises:
        RunError: The record is damaged, or a store holds other films, or is split otherwise, than
            when it was begun.
    """
    folder = plan.options.out
    further = [Films.open([path]).stores[0] for path in plan.options.data[1:]]
    stores = tuple(
        StudyStore(store.folder, store.source, store.fingerprint, Split.load(store.folder).hash)
        for store in [films.stores[0], *further]
    )
    if is_study(folder):
        record = read_study(folder)
        for old, now in zip(record.stores, stores, strict=True):
            if old.fingerprint != now.fingerprint:
                raise RunError(
                    f"{now.path} holds other films than when {folder} began: choose another --out."
                )
            if old.split is not None and old.split != now.split:
                raise RunError(
                    f"{now.path} was split anew since {folder} began (split {old.split[:8]} then, "
                    f"{str(now.split)[:8]} now): split it as it was, by the same options, or "
                    "choose another --out."
                )
        block = study_block(plan)
        where = {key: block[key] for key in ("data", "models", "pretrain")}
        moved = [
            (old.path.resolve(), new.path.resolve())
            for old, new in zip(record.stores, stores, strict=True)
        ]
        if difference({key: record.plan.get(key) for key in where}, where) or any(
            old != new for old, new in moved
        ):
            record = replace(record, stores=stores, plan={**record.plan, **where})
            write_study(record)
        return _updated(record, block)
    return StudyRecord(
        folder=folder,
        hilum=__version__,
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
        machine={
            "system": platform.system(),
            "cores": len(os.sched_getaffinity(0)),
            "threads": torch.get_num_threads(),
            "jobs": jobs,
            "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        },
        stores=stores,
        plan=study_block(plan),
        reference=plan.reference,
        finished=False,
        cells=cells,
    )


def _updated(record: StudyRecord, block: dict[str, Any]) -> StudyRecord:
    """Take over the plan's new evaluation and annotations, and remove results of the old ones.

    Runs that count wait again where they must be measured anew: their predictions are there
    already. Old results are removed before the record is written, so that a stop between the two
    leaves nothing old beside the new plan.
    """
    if not difference(_changeable(record.plan), _changeable(block)):
        return record
    record.localisation.unlink(missing_ok=True)
    changed = replace(record, plan=block)
    if difference(record.plan.get(EVALUATION), block[EVALUATION]):
        record.analysis.unlink(missing_ok=True)
        cells = tuple(
            replace(cell, state="waiting")
            if cell.kind != "pretrain" and cell.chosen and cell.state == "done"
            else cell
            for cell in record.cells
        )
        changed = replace(changed, cells=cells, finished=False)
    write_study(changed)
    return changed


def _changeable(block: Mapping[str, Any]) -> dict[str, Any]:
    return {key: block.get(key) for key in (ANNOTATIONS, EVALUATION)}


def _binding(content: Any, other: Any) -> Any:
    """Return the values of a plan's file that must not change between two calls.

    Of stores that is their number, and of initial weights their hash, or their path where one of the
    two files has no hash of them.
    """
    block = content.get("study") if isinstance(content, dict) else None
    block = with_new_names("study", block)
    if not isinstance(block, dict):
        return content
    values = {
        key: _number(value) if key == "data" else value
        for key, value in block.items()
        if key not in (ANNOTATIONS, EVALUATION)
    }
    for part in ("models", "pretrain"):
        rows = values.get(part)
        for name, row in rows.items() if isinstance(rows, dict) else ():
            hashes = [_initial_weights_of(each).get(f"{part}.{name}") for each in (content, other)]
            if None not in hashes and isinstance(row, dict):
                values[part] = {**values[part], name: {**row, "init": hashes[0]}}
    return {"study": values}


def _number(paths: Any) -> Any:
    return len(paths) if isinstance(paths, list) else paths
