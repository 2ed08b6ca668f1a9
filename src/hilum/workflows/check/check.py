"""``hilum check``: read every file of a folder that Hilum wrote, and compare it with its hash."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hilum.bundle import exported as bundles
from hilum.bundle.model_folder import DESCRIPTION, SEEN, WEIGHTS, age_notes, damages, is_model
from hilum.bundle.model_folder import MANIFEST as BUNDLE
from hilum.bundle.onnx_model import NEEDED
from hilum.bundle.starter import resolved
from hilum.duplicates.stored import FILE_NAME as DUPLICATES
from hilum.duplicates.stored import read_duplicates
from hilum.errors import DataError
from hilum.files import age_line, read_hashed_json, read_hashed_text, unhashed
from hilum.images.store import CATALOG, MANIFEST, Store
from hilum.options import as_path
from hilum.splits import Split
from hilum.splits.reading import FILE_NAME as SPLIT
from hilum.training.checkpoint import damage
from hilum.training.options_file import OPTIONS, read_options_file
from hilum.training.run_folder import (
    CHECKPOINTS,
    CROPS,
    FILES,
    FOLDS,
    LOG,
    METRICS,
    MODEL,
    PSEUDO_LABELS,
    SPLITS,
    TEACHER,
    read_log,
    read_metrics,
)
from hilum.workflows.card.card import CARD, is_card
from hilum.workflows.card.pixels import PICTURES
from hilum.workflows.card.record import CardRecord
from hilum.workflows.check.checked import Checked, Checks, files_of, read_checked
from hilum.workflows.data.pseudo_label_table import read_pseudo_labels
from hilum.workflows.evaluate.predictions import read_predictions
from hilum.workflows.export.export import check_bundle
from hilum.workflows.pseudo_label.record import ROUNDS, read_rounds
from hilum.workflows.pseudo_label.starting_run import ROUND_FOLDERS
from hilum.workflows.study.gallery import SUMMARY
from hilum.workflows.study.record import (
    ANALYSIS,
    DATA,
    EXPLAINED,
    LOCALISATION,
    PLAN,
    RUNS,
    STUDY,
    is_study,
    read_study,
)

DEMO = "demo.json"
"""What marks a study's folder as a demo."""


@dataclass(frozen=True)
class CheckResult:
    """What was read of a folder, and what of it is damaged."""

    path: Path
    checked: tuple[str, ...]
    """Files and folders that were compared, by their place below the folder."""
    damaged: tuple[str, ...]
    """A line for each that is not what was written."""
    notes: tuple[str, ...] = ()
    """What could not be checked, as it has no hash."""


def check(path: str | Path) -> CheckResult:
    """Read all of the folder of a store, run, model, study or card, and compare it with its hashes.

    Raises:
        DataError: The folder is none of these.
    """
    path = resolved(as_path("path", path))
    parts = list(_checks(path))
    tops = {part.name.split("/")[0] for part in parts}
    others = sorted(
        entry.name for entry in path.iterdir() if entry.name[0] != "." and entry.name not in tops
    )
    notes = [note for part in parts for note in part.notes]
    if others:
        notes.append(f"has no hash, and no command reads it again: {', '.join(others)}")
    return CheckResult(
        path,
        checked=tuple(part.name for part in parts),
        damaged=tuple(f"{part.name}: {part.fault}" for part in parts if part.fault is not None),
        notes=tuple(dict.fromkeys(notes)),
    )


def _checks(folder: Path) -> Checks:
    if is_study(folder):
        return of_study(folder)
    if is_card(folder):
        return of_card(folder)
    if bundles.is_exported(folder):
        return of_exported(folder)
    if (folder / DESCRIPTION).is_file():
        return of_bundle(folder)
    if (folder / MANIFEST).is_file():
        return of_store(folder)
    if (folder / OPTIONS).is_file() or is_model(folder):
        return of_run(folder)
    raise DataError(
        f"{folder} is no store, run, model, study or card: give a folder that a command of hilum wrote."
    )


def of_store(folder: Path, below: str = "") -> Checks:
    """Read the files of a store; ``below`` is its place with a slash."""
    opened = read_checked(f"{below}{MANIFEST}", Store.open, folder)
    if opened.fault is not None:
        yield opened
        return
    store: Store = opened.value
    yield Checked(f"{below}{MANIFEST}", notes=store.notes)
    yield Checked(f"{below}{CATALOG}")  # compared when the store was opened
    yield from files_of(folder, {shard["file"]: shard["sha256"] for shard in store.shards}, below)
    yield read_checked(f"{below}{SPLIT}", Split.load, folder)
    if (folder / DUPLICATES).exists():
        yield read_checked(f"{below}{DUPLICATES}", read_duplicates, store)


def of_bundle(folder: Path) -> Checks:
    """Read the files of a model that lies by itself."""
    yield Checked(DESCRIPTION, of_model(folder, DESCRIPTION).fault, age_notes(folder))
    for name in (WEIGHTS, SEEN, BUNDLE):
        if (folder / name).exists():
            yield Checked(name)  # compared with the description


def of_exported(folder: Path) -> Checks:
    """Read the files of a bundle of ``hilum export``, and compute with each: they must agree."""
    opened = read_checked(bundles.CHECKS, bundles.read_exported, folder)
    yield Checked(opened.name, opened.fault)
    if opened.fault is not None:
        return
    faults = {name: opened.value.fault(name) for name in bundles.FILES}
    for name, fault in faults.items():
        if any(faults.values()) or name != bundles.GRAPH:
            yield Checked(name, fault)
        elif find_spec("onnxruntime") is None:
            line = f"{NEEDED} What {name} computes was not compared"
            yield Checked(name, notes=(line,))
        else:
            yield read_checked(name, check_bundle, folder)


def of_model(path: Path, name: str) -> Checked:
    """Read the three files of a bundle, or of that in a run."""

    def whole() -> None:
        if faults := damages(path):
            raise DataError(f"{', '.join(faults)} missing or not what was written")

    return read_checked(name, whole)


def of_run(folder: Path, below: str = "") -> Checks:
    """Read the files of a run, and those of the runs within it: rounds, a teacher."""
    options = read_checked(f"{below}{OPTIONS}", read_options_file, folder)
    yield Checked(options.name, options.fault, age_notes(folder))
    metrics = read_checked(f"{below}{METRICS}", read_metrics, folder)
    if (folder / METRICS).exists():
        yield metrics
    hashes = (metrics.value or {}).get(FILES) or {}
    yield from files_of(
        folder, {name: hashes[name] for name in (LOG, CROPS) if name in hashes}, below
    )
    if LOG not in hashes and (folder / LOG).exists():
        log = read_checked(f"{below}{LOG}", read_log, folder)
        unfinished = f"{folder / LOG} has no hash until the run is finished: it was only read"
        yield Checked(log.name, log.fault, () if (folder / METRICS).exists() else (unfinished,))
    if is_model(folder):
        yield of_model(folder, f"{below}{MODEL}")
    if (folder / PSEUDO_LABELS).exists():
        yield read_checked(f"{below}{PSEUDO_LABELS}", read_pseudo_labels, folder / PSEUDO_LABELS)
    for split in sorted((folder / SPLITS).glob("*")):
        yield read_checked(f"{below}{SPLITS}/{split.name}", Split.load, split)
    for file in sorted(folder.glob("predictions-*.parquet")):
        yield read_checked(f"{below}{file.name}", read_predictions, file)
    for step in sorted((folder / CHECKPOINTS).glob("[!.]*")):
        yield Checked(f"{below}{CHECKPOINTS}/{step.name}", damage(step))
    for step in sorted((folder / FOLDS).glob("*/*/[!.]*")):  # of an unfinished run
        yield Checked(f"{below}{step.relative_to(folder).as_posix()}", damage(step))
    yield from of_gallery(folder, below)
    if (folder / ROUNDS).exists():
        yield read_checked(f"{below}{ROUNDS}", read_rounds, folder)
    for run in (*sorted((folder / ROUND_FOLDERS).glob("round-*")), folder / TEACHER):
        place = f"{below}{run.relative_to(folder).as_posix()}/"
        if (run / OPTIONS).is_file():
            yield from of_run(run, place)
        elif (run / PSEUDO_LABELS).exists():  # a round that labelled no film trained nothing
            yield read_checked(f"{place}{PSEUDO_LABELS}", read_pseudo_labels, run / PSEUDO_LABELS)


def of_gallery(folder: Path, below: str = "") -> Checks:
    """Read the heatmaps' gallery of a run or study, where it has one."""
    place = folder / EXPLAINED
    if (place / SUMMARY).exists():
        summary = read_checked(f"{below}{EXPLAINED}/{SUMMARY}", read_hashed_json, place / SUMMARY)
        yield Checked(summary.name, summary.fault, age_line(place, unhashed(place, [SUMMARY])))
        if summary.value:
            yield from files_of(place, summary.value[0].get(FILES), f"{below}{EXPLAINED}/")


def of_study(folder: Path) -> Checks:
    """Read the files of a study, of its runs, and of the stores that lie in its folder."""
    names = [
        name for name in (PLAN, ANALYSIS, LOCALISATION, DATA, DEMO) if (folder / name).exists()
    ]
    study = read_checked(STUDY, read_study, folder)
    yield Checked(STUDY, study.fault, age_line(folder, unhashed(folder, [STUDY, *names])))
    for name in names:
        read = read_hashed_text if name == PLAN else read_hashed_json
        yield read_checked(name, read, folder / name)
    yield from of_gallery(folder)
    for run in sorted((folder / RUNS).glob("*")):
        if (run / OPTIONS).is_file():
            yield from of_run(run, f"{RUNS}/{run.name}/")
    for store in study.value.stores if study.value else ():
        path, root = store.path.resolve(), folder.resolve()
        if path.is_relative_to(root):
            yield from of_store(path, f"{path.relative_to(root).as_posix()}/")
        else:
            line = f"its store {store.path} lies elsewhere: give it to hilum check too"
            yield Checked(STUDY, notes=(line,))


def of_card(folder: Path) -> Checks:
    """Read a data card and its pictures."""
    card = read_checked(CARD, _read_card, folder)
    yield Checked(CARD, card.fault, age_line(folder, unhashed(folder, [CARD])))
    yield from files_of(folder / PICTURES, card.value, f"{PICTURES}/")


def _read_card(folder: Path) -> object:
    """Return the hashes of a card's pictures."""
    content, _ = read_hashed_json(folder / CARD)
    CardRecord.from_json(content)
    return content.get(FILES)
