"""The data card of stores: contents, leaks between splits, outliers, label issues, shortcuts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from hilum.annotations.known import PHANTOMS
from hilum.bundle.initialization import weights_hash
from hilum.catalog import PRESENT, UNCERTAIN
from hilum.duplicates.stored import known_and_found, read_duplicates
from hilum.errors import DataError, RunError
from hilum.files import (
    age_line,
    clear_leftovers,
    file_hashes,
    inside,
    read_hashed_json,
    refuse_links_out,
    unhashed,
    write_hashed_json,
)
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.options import as_paths, with_new_names
from hilum.splits import Split
from hilum.training.inference import describe_device
from hilum.version import __version__
from hilum.workflows.card.label_issues import label_issues
from hilum.workflows.card.leakage import (
    LISTS,
    copy_facts,
    copy_list,
    named_films,
    patient_facts,
    shown_copies,
    shown_films,
    store_of_each,
    write_list,
)
from hilum.workflows.card.model_features import Reader, read_with
from hilum.workflows.card.options import CardOptions
from hilum.workflows.card.outliers import outliers
from hilum.workflows.card.pixels import (
    PICTURES,
    before_and_after,
    grey_facts,
    keep_picture,
    sample_rows,
)
from hilum.workflows.card.shortcut_check import shortcut_facts
from hilum.workflows.card.statistics import column_facts, columns_of
from hilum.workflows.data.subsets import Subsets

FORMAT = 2
CARD = "card.json"
FILES = "files"
"""Key of the card: SHA-256 of its pictures by name."""
RECORDED = ("samples", "split", "neighbours", "label_issues", "min_positives", "resamples", "seed")
"""Options that change what the card says."""
ISSUES = "label-hints"
"""Name of the work list, which only a card with a run has."""
SHOWN_AS = ("mean", "sample", "step", "copy", "stranger", "hint")
"""What the names of a card's pictures begin with."""
LOOKED_FOR = 8
"""Films whose originals are searched before they count as not available."""


@dataclass(frozen=True)
class CardResult:
    """Where the card's numbers are, and what they are of."""

    card: Path
    stores: tuple[str, ...]
    films: int
    patients: int
    already_done: bool

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {
            "card": str(self.card),
            "stores": list(self.stores),
            "films": self.films,
            "patients": self.patients,
            "already_done": self.already_done,
        }


def is_card(folder: Path) -> bool:
    """Whether a folder is a data card's."""
    return (folder / CARD).is_file()


def card(
    stores: str | Path | Sequence[str | Path],
    options: CardOptions,
    subject: str | Path | None = None,
    listener: Listener = SILENT,
) -> CardResult:
    """Write a card of stores: ``card.json``, pictures, and lists of films to look at.

    Args:
        stores: Prepared alike; each with its split.
        options: What to put on the card, and where.
        subject: A run whose features find label issues, and whose AUROC is compared with the
            shortcut probes'; None leaves label issues out.
        listener: Hears notes and progress.

    Raises:
        DataError: A folder is no store, has no split, or the stores or the run do not go together.
        RunError: ``out`` holds something else, or a card of other stores or options.
        HilumError: Anything else the user can mend; see the line.
    """
    folders = as_paths("stores", stores)
    subject = None if subject is None else str(subject)
    for root in options.annotations:
        if not root.is_dir():
            raise DataError(
                f"--annotations is {root}, no folder: give the data set's, as given to `hilum prepare`."
            )
    films = Films.open(folders, listener=listener)
    # Not Subsets.of, which refuses films and patients in two splits: the card reports them.
    subsets = Subsets(films, tuple(Split.load(store.folder) for store in films.stores))
    made_of = _made_of(subsets, options, subject)
    patients = int(films.named_patients.max()) + 1
    result = CardResult(
        options.out / CARD, films.sources, len(films), patients, _is_done(options.out, made_of)
    )
    if result.already_done:
        for note in (
            f"{options.out} has this card already",
            *age_line(options.out, unhashed(options.out, [CARD])),
        ):
            listener.note(note)
        return result
    for store in films.stores:
        read_duplicates(store)  # what is damaged is refused before anything is begun
    reader = read_with(subject, films, options.device, options.seed, listener) if subject else None
    listener.device(describe_device(torch.device("cpu")))  # for all but the model's features
    options.out.mkdir(parents=True, exist_ok=True)
    # What an unfinished card left may show and name films of other stores.
    for folder in (options.out, options.out / PICTURES, options.out / LISTS):
        clear_leftovers(folder)
    (options.out / LISTS / f"{ISSUES}.csv").unlink(missing_ok=True)
    for kind in SHOWN_AS:
        for picture in (options.out / PICTURES).glob(f"{kind}-*.png"):
            picture.unlink()
    content = _content(subsets, folders, reader, options, listener)
    shown = sorted(picture.name for picture in (options.out / PICTURES).glob("*.png"))
    hashes = {FILES: file_hashes(options.out / PICTURES, shown)}
    write_hashed_json(result.card, {"format": FORMAT, "made_of": made_of, **content, **hashes})
    return result


def _made_of(subsets: Subsets, options: CardOptions, subject: str | None) -> dict[str, Any]:
    """Return what identifies a card: data, options and run; no path is in it.

    A run is known by the hash of its weights, a weights file by its own, all else by its name.
    """
    known_as = None if subject is None else weights_hash(subject) or Path(subject).name
    values = {name: getattr(options, name) for name in RECORDED}
    pairs = zip(map(asdict, subsets.record()), subsets.films.stores, strict=True)
    return {
        "hilum": __version__,
        "stores": [
            {**identity, "preparation": store.preparation.to_json()} for identity, store in pairs
        ],
        "options": {**values, "annotations": len(options.annotations)},
        "from": known_as,
    }


def _is_done(out: Path, made_of: dict[str, Any]) -> bool:
    """Whether the folder has this very card.

    Raises:
        RunError: It holds something else, or a link that leads out of it.
    """
    try:
        refuse_links_out(out, [CARD, PICTURES, LISTS])
    except ValueError as error:
        raise RunError(f"{error}: give --out a new folder.") from error
    if not is_card(out):
        others = (
            {entry.name for entry in out.iterdir()} - {PICTURES, LISTS} if out.is_dir() else set()
        )
        if any(not name.startswith(".") for name in others) or out.is_file():
            raise RunError(f"{out} holds something else than a data card: give --out a new folder.")
        return False
    try:
        existing = dict(read_hashed_json(inside(out, CARD))[0]["made_of"])
        existing["options"] = with_new_names("card", existing["options"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{out / CARD} is damaged: delete {out} and make the card again.") from error
    differing = [name for name in made_of if existing.get(name) != made_of[name]]
    if differing:
        raise RunError(
            f"{out} holds another card ({', '.join(differing)} not the same): give --out a new folder."
        )
    return True


def _content(
    subsets: Subsets,
    folders: Sequence[Path],
    reader: Reader | None,
    options: CardOptions,
    listener: Listener,
) -> dict[str, Any]:
    """Write the card's pictures and lists, and return its facts."""
    films = subsets.films
    columns, facts = columns_of(films), []
    for column in columns:
        listener.progress("tables", 0, 1, column.name)
        counted = column_facts(films, subsets, column)
        listener.progress("tables", 1, 1, column.name)
        greys, mean = grey_facts(films, column.rows, options.seed, listener)
        picture = keep_picture(options.out, f"mean-{'-'.join(map(str, column.stores))}", mean)
        facts.append({**counted, "greys": greys, "mean_film": picture})
    stores = [_store(subsets, store, folders, options) for store in range(len(films.stores))]
    patients = patient_facts(subsets)
    copies = known_and_found(films, listener)
    write_list(options.out, "copies", copy_list(subsets, copies))
    shown = shown_copies(subsets, copies, options.out)
    return {
        "columns": facts,
        "stores": stores,
        "patients": patients,
        "copies": {**copy_facts(subsets, copies), "shown": shown},
        "strangers": _outliers(films, options, listener),
        "hints": _issues(films, reader, options, listener) if reader else None,
        "shortcuts": [
            shortcut_facts(subsets, column, reader, options, listener) for column in columns
        ],
        "reader": {"kind": reader.kind, "backbone": reader.backbone, "says": reader.says}
        if reader
        else None,
    }


def _store(
    subsets: Subsets, number: int, folders: Sequence[Path], options: CardOptions
) -> dict[str, Any]:
    """Return a store's sample films, and some before and after enhancement."""
    store, split = subsets.films.stores[number], subsets.splits[number]
    rows = sample_rows(store, split, max(options.samples, LOOKED_FOR), options.seed)
    phantoms = folders[number].parent / PHANTOMS
    roots = [*options.annotations, *([phantoms] if phantoms.is_dir() else [])]
    enhancement = [
        [
            {
                "picture": keep_picture(options.out, f"step-{number}-{film}-{step}", picture),
                "enhance": enhance,
            }
            for step, (picture, enhance) in enumerate(steps)
        ]
        for film, steps in enumerate(before_and_after(store, rows[:LOOKED_FOR], roots))
    ]
    samples = []
    for sample, row in enumerate(rows[: options.samples].tolist()):
        image = store.read(np.array([row]))[0]
        labels = dict(zip(store.findings, store.labels[row].tolist(), strict=True))
        view = store.catalog["view_position"].iloc[row]
        samples.append(
            {
                "picture": keep_picture(options.out, f"sample-{number}-{sample}", image),
                "view": str(view) if isinstance(view, str) else None,
                "present": [name for name, label in labels.items() if label == PRESENT],
                "uncertain": [name for name, label in labels.items() if label == UNCERTAIN],
            }
        )
    return {
        "source": subsets.films.sources[number],
        "preparation": store.preparation.to_json(),
        "split": {
            "kind": split.kind,
            "seed": split.seed,
            "hash": split.hash,
            "notes": list(split.notes),
        },
        "samples": samples,
        "enhancement": enhancement,
    }


def _outliers(films: Films, options: CardOptions, listener: Listener) -> dict[str, Any]:
    """Return the films of every store that look unlike its others and like no chest film."""
    spans = zip(films.starts[:-1].tolist(), films.starts[1:].tolist(), strict=True)
    tables = []
    for done, span in enumerate(spans):
        listener.progress("outliers", done, len(films.stores))
        tables.append(outliers(films, np.arange(*span)))
    listener.progress("outliers", len(films.stores), len(films.stores))
    table = pd.concat(tables, ignore_index=True).sort_values(
        "score", ascending=False, ignore_index=True, kind="stable"
    )
    rows = table["row"].to_numpy(np.int64)
    listed = pd.concat([named_films(films, rows), table[["score", "reason"]]], axis=1)
    write_list(options.out, "strangers", listed)
    counts = np.bincount(store_of_each(films)[rows], minlength=len(films.stores))
    by_store = dict(zip(films.sources, counts.tolist(), strict=True))
    return {
        "films": len(table),
        "by_store": by_store,
        "shown": shown_films(films, table, options.out, "stranger"),
    }


def _issues(
    films: Films, reader: Reader, options: CardOptions, listener: Listener
) -> dict[str, Any]:
    """Return the work list of labels that the neighbours of their films contradict."""
    listener.progress("label issues", 0, 1)
    rows = np.arange(len(films), dtype=np.int64)
    table = label_issues(
        films, rows, reader.features, options.neighbours, options.label_issues, seed=options.seed
    )
    listener.progress("label issues", 1, 1)
    listed = pd.concat(
        [
            named_films(films, table["row"].to_numpy(np.int64)),
            table[["finding", "label", "expected", "score"]],
        ],
        axis=1,
    )
    write_list(options.out, ISSUES, listed)
    shown = shown_films(films, table, options.out, "hint")
    return {"labels": len(table), "neighbours": options.neighbours, "shown": shown}
