"""What becomes of one flipped bit in a file that Hilum wrote: refused, without effect, or a wrong value unseen?

Draws phantoms, prepares them with copies among them, fine-tunes and evaluates the smallest network, and
flips one bit of a file at a time, at places drawn by lot. After each flip it reads what a user's command
reads of that file, whole, and compares every value with that before. A flip is

* refused: one line of Hilum's own (`HilumError`) that says what is damaged;
* unchanged: read, and every value is as before, as where a bit of a Parquet file means nothing;
* silent: read, and a value differs. There must be none;
* other: any other exception, or several lines. There must be none.

Exit 1 where a flip was silent or another exception; each is shown with its byte and bit.

Run: ``python benchmarks/flipped_bits.py [--flips 1500] [--big-flips 200] [--json]``. A minute on one core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

import hilum
from hilum.bundle.model_folder import DESCRIPTION, SEEN, WEIGHTS
from hilum.catalog import Catalog, film_table
from hilum.duplicates.stored import FILE_NAME as DUPLICATES
from hilum.duplicates.stored import read_duplicates
from hilum.errors import HilumError
from hilum.images.films import Films
from hilum.images.store import CATALOG, MANIFEST, Store
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.splits import Split
from hilum.training.run_folder import METRICS, PSEUDO_LABELS, read_metrics
from hilum.workflows.data.pseudo_label_table import PseudoLabels, read_pseudo_labels
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.evaluate.evaluate import saved_scores
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.evaluate.predictions import read_predictions
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions
from said import say

FILMS, COPIES, SIZE = 120, 16, 32
PART = "test"
OUTCOMES = ("refused", "unchanged", "silent", "other")


@dataclass(frozen=True)
class Subject:
    """A file to flip bits of, and what reads it as a user's command does."""

    file: Path
    read: Callable[[], Iterable[Any]]
    """Returns every value that was read."""
    flips: int


def drawn(folder: Path, seed: int) -> tuple[Path, Path]:
    """Return a store of phantoms with its split and copies, and a run that was evaluated on it."""
    write_phantoms(folder / "phantoms", PhantomOptions(FILMS, 64, seed, prevalence="even"))
    catalog = read_source("chexpert", folder / "phantoms")
    table = catalog.table
    again = table.iloc[:COPIES].copy()
    again["path"] = [f"again/{number}.png" for number in range(COPIES)]
    again["patient"] = [f"again {number}" for number in range(COPIES)]
    (catalog.root / "again").mkdir()
    for copied, path in zip(again["path"], table["path"], strict=False):
        film = cv2.imread(str(catalog.root / path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(catalog.root / copied), film)
    both = film_table(pd.concat([table, again], ignore_index=True), catalog.findings)
    store, run = folder / "store", folder / "run"
    prepare(
        Catalog("phantoms", catalog.root, catalog.findings, both, len(both)),
        store,
        PrepareOptions(SIZE, dedup=True, workers=1),
    )
    train = FinetuneTrainOptions(min_steps=0, epochs=1, batch_size=16, seed=seed, accelerator="cpu")
    hilum.finetune(FinetuneOptions(data=(store,), out=run, backbone="test_resnet", train=train))
    hilum.evaluate(
        run, EvaluateOptions(data=store, split=PART, min_positives=1, resamples=2, device="cpu")
    )
    pseudo_labels(store).write(run / PSEUDO_LABELS)
    return store, run


def pseudo_labels(store: Path) -> PseudoLabels:
    """Return a label of the first finding for every film of a store."""
    opened = Store.open(store)
    cells = opened.columns(["path"]).assign(source=opened.source)
    shares = np.random.default_rng(0).random(len(cells))
    cells = cells.assign(
        finding=opened.findings[0], value=shares.round(), weight=1.0, probability=shares
    )
    record = {"teacher": opened.fingerprint, "round": 1, "cuts": {opened.findings[0]: 0.5}}
    return PseudoLabels(cells.assign(provenance="pseudo"), record)


def subjects(store: Path, run: Path, flips: int, big_flips: int) -> list[Subject]:
    """Return the files of a store and a run, and how often each is flipped."""
    films = Films.open([store])
    rows = Subsets.of(films).needed(PART)
    examples = films.read(np.arange(4))

    def of_store() -> Iterable[Any]:
        opened = Store.open(store)
        every = Films.open([store])
        pixels = every.read(np.arange(len(every)))
        return opened.manifest, opened.columns(), opened.labels, opened.fingerprint, pixels

    def of_model() -> Iterable[Any]:
        model = hilum.load(run, device="cpu")
        weights = {name: value.numpy() for name, value in model.state_dict().items()}
        probabilities = model.predict(examples)
        return asdict(model.description), model.model.seen, *weights.values(), probabilities

    def of_predictions() -> Iterable[Any]:
        return read_predictions(run / predictions), saved_scores(run, films, rows, PART)

    def of_pseudo_labels() -> Iterable[Any]:
        read = read_pseudo_labels(run / PSEUDO_LABELS)
        return read.cells, read.record

    def of_split() -> Iterable[Any]:
        read = Split.load(store)
        return read.hash, asdict(read)

    predictions = f"predictions-{PART}.parquet"
    return [
        Subject(store / CATALOG, of_store, flips),
        Subject(store / MANIFEST, of_store, flips),
        Subject(store / "split.json", of_split, flips),
        Subject(store / DUPLICATES, lambda: [read_duplicates(Store.open(store))], flips),
        Subject(run / "model" / DESCRIPTION, of_model, flips),
        Subject(run / "model" / SEEN, of_model, flips),
        Subject(run / predictions, of_predictions, flips),
        Subject(run / PSEUDO_LABELS, of_pseudo_labels, flips),
        Subject(run / METRICS, lambda: [read_metrics(run)], flips),
        Subject(store / "images-00000.npy", of_store, big_flips),
        Subject(run / "model" / WEIGHTS, of_model, big_flips),
    ]


def digest(values: Iterable[Any]) -> str:
    """Return a hash of every value, whatever holds it; NaN equals NaN."""
    digested = hashlib.sha256()
    for value in values:
        if isinstance(value, pd.DataFrame):
            cells = value.columns.tolist(), value.to_numpy(object).tolist()
            digested.update(repr((cells, sorted(value.attrs.items()))).encode())
        elif isinstance(value, np.ndarray):
            digested.update(repr((value.shape, value.dtype)).encode() + value.tobytes())
        else:
            digested.update(repr(value).encode())
    return digested.hexdigest()


def outcome(subject: Subject, sound: str) -> tuple[str, str]:
    """Return the outcome of reading a file with a flipped bit, and what was said."""
    try:
        values = digest(subject.read())
    except HilumError as error:
        return ("other" if "\n" in str(error) else "refused"), str(error)
    except Exception as error:  # noqa: BLE001 - any other is what is looked for
        return "other", f"{type(error).__name__}: {error}"
    return ("unchanged", "") if values == sound else ("silent", "a value differs")


def flipped(subject: Subject, seed: int) -> tuple[dict[str, int], list[str]]:
    """Flip bits of a file one at a time; return how often each outcome came, and what must not be."""
    whole = subject.file.read_bytes()
    sound = digest(subject.read())
    if digest(subject.read()) != sound:
        raise ValueError(f"two readings of {subject.file} differ without a flip")
    rng = np.random.default_rng([seed, *subject.file.name.encode()])
    counts, faults = Counter(dict.fromkeys(OUTCOMES, 0)), []
    bits = 8 * len(whole)
    for place in rng.choice(bits, min(subject.flips, bits), replace=False).tolist():
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << (place % 8)
        subject.file.write_bytes(damaged)
        kind, said = outcome(subject, sound)
        counts[kind] += 1
        if kind in ("silent", "other"):
            faults.append(f"byte {place // 8} bit {place % 8}: {kind}: {said:.200}")
    subject.file.write_bytes(whole)
    return dict(counts), faults


def main() -> None:
    """Print the counts; exit 1 where a flip was silent or ended in another exception."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--flips", type=int, default=1500, help="of each small file")
    parser.add_argument("--big-flips", type=int, default=200, help="of a shard and the weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    chosen = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        store, run = drawn(Path(folder), chosen.seed)
        for subject in subjects(store, run, chosen.flips, chosen.big_flips):
            counts, faults = flipped(subject, chosen.seed)
            result[subject.file.name] = counts
            say(f"{subject.file.name}: " + ", ".join(f"{n} {kind}" for kind, n in counts.items()))
            for fault in faults:
                say(f"  {fault}")
    bad = sum(counts["silent"] + counts["other"] for counts in result.values())
    if chosen.json:
        say(json.dumps({"seed": chosen.seed, "bad": bad, "files": result}))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
