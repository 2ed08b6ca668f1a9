"""What becomes of one flipped bit in a file that Hilum wrote: refused, without effect, or a wrong value unseen?

Draws phantoms, prepares them with copies among them, makes their card, and runs a study of the smallest network
with rounds of pseudo-labels. It flips one bit of a file at a time, at places drawn by lot. After each flip it
reads what a user's command reads of that file, whole, and compares every value with that before. A flip is

* refused: one line of Hilum's own (`HilumError`) that says what is damaged;
* unchanged: read, and every value is as before, as where a bit of a Parquet file means nothing;
* silent: read, and a value differs. There must be none;
* other: any other exception, or several lines. There must be none.

Some flips of each file are then tried on the command line, in this process: ``hilum check`` of the folder, and a
command that uses the file (``report``, or ``finetune`` of the finished run). There refused is exit code 1 and no
traceback, unchanged is exit code 0 with every value, or the page, as before.

Exit 1 where a flip was silent or another exception; each is shown with its byte and bit.

Run: ``python benchmarks/flipped_bits.py [--flips 1500] [--big-flips 200] [--commands 30] [--json]``.
Minutes on one core.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
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
from hilum.cli import main as command_line
from hilum.duplicates.stored import FILE_NAME as DUPLICATES
from hilum.duplicates.stored import read_duplicates
from hilum.errors import HilumError
from hilum.images.films import Films
from hilum.images.store import CATALOG, MANIFEST, Store
from hilum.pages.card.read import read_card
from hilum.pages.gallery import read_gallery
from hilum.pages.pages import write_report
from hilum.pages.read import read_json, read_run
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.splits import Split
from hilum.training.options_file import OPTIONS, read_options_file
from hilum.training.run_folder import LOG, METRICS, PSEUDO_LABELS, read_metrics
from hilum.workflows.card.card import CARD, card
from hilum.workflows.card.options import CardOptions
from hilum.workflows.data.pseudo_label_table import PseudoLabels, read_pseudo_labels
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.evaluate.evaluate import saved_scores
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.evaluate.predictions import read_predictions
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.pseudo_label.options import PseudoLabelOptions
from hilum.workflows.pseudo_label.record import ROUNDS, read_rounds
from hilum.workflows.study.folder import kept_plan
from hilum.workflows.study.gallery import SUMMARY
from hilum.workflows.study.options import StudyEvaluation, StudyOptions
from hilum.workflows.study.plan import StudyModel, StudyPlan
from hilum.workflows.study.record import ANALYSIS, EXPLAINED, PLAN, STUDY, read_study
from hilum.workflows.study.study import study
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
    folder: Path
    """What ``hilum check`` is given."""
    words: tuple[str, ...]
    """A command that uses the file."""
    page: Path | None = None
    """What the command writes; None where only its exit code tells."""


@dataclass(frozen=True)
class Made:
    """Folders of every kind."""

    store: Path
    run: Path
    study: Path
    card: Path

    @property
    def rounds(self) -> Path:
        """The study's rounds of pseudo-labels."""
        return next(self.study.glob("runs/more-*"))


def drawn(folder: Path, seed: int) -> Made:
    """Return a store of phantoms with its split and copies, a run that was evaluated on it, a study and a card."""
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
    made = Made(store, run, folder / "study", folder / "card")
    study(plan(made, train))
    card([store], CardOptions(out=made.card, samples=1, min_positives=2, resamples=2))
    for shown in (run, made.study, made.rounds, made.card):
        write_report(shown)
    return made


def plan(made: Made, train: FinetuneTrainOptions) -> StudyPlan:
    """Return a study of one model on half of the labels, and of rounds of pseudo-labels that begin with it."""
    sure = {"precision": 0.5, "absent_precision": 0.5, "level": 0.5, "device": "cpu"}
    nowhere: dict[str, Any] = {"data": (), "out": Path()}
    return StudyPlan(
        options=StudyOptions(
            data=(made.store,),
            out=made.study,
            backbone="test_resnet",
            fractions=(0.5,),
            evaluation=StudyEvaluation(min_positives=1, resamples=2, subgroup_patients=2),
        ),
        models={"scratch": StudyModel(init="random"), "more": StudyModel(self_train="scratch")},
        finetune=FinetuneOptions(patience=0, train=train, **nowhere),
        pseudo_label=PseudoLabelOptions(rounds=1, **sure, **nowhere),
    )


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


def subjects(made: Made, flips: int, big_flips: int) -> list[Subject]:
    """Return the files to flip, and how often."""
    store, run = made.store, made.run
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

    def of_gallery() -> Iterable[Any]:
        return [read_gallery(made.study / EXPLAINED, "delete it")]

    def of_card() -> Iterable[Any]:
        read = read_card(made.card)
        return read.record, read.picture("mean-0.png")

    predictions = f"predictions-{PART}.parquet"
    again = (
        *("finetune", "--data", str(store), "--out", str(run), "--backbone", "test_resnet"),
        *("--train.min-steps", "0", "--train.epochs", "1", "--train.batch-size", "16"),
        *("--train.accelerator", "cpu"),
    )

    def of(folder: Path, file: str, read: Callable[[], Iterable[Any]], number: int) -> Subject:
        page = folder / ("card.html" if folder == made.card else "report.html")
        if folder == store:
            return Subject(folder / file, read, number, folder, again)
        return Subject(folder / file, read, number, folder, ("report", str(folder)), page)

    return [
        of(store, CATALOG, of_store, flips),
        of(store, MANIFEST, of_store, flips),
        of(store, "split.json", of_split, flips),
        of(store, DUPLICATES, lambda: [read_duplicates(Store.open(store))], flips),
        of(run, f"model/{DESCRIPTION}", of_model, flips),
        of(run, f"model/{SEEN}", of_model, flips),
        of(run, predictions, of_predictions, flips),
        of(run, PSEUDO_LABELS, of_pseudo_labels, flips),
        of(run, METRICS, lambda: [read_metrics(run)], flips),
        of(run, OPTIONS, lambda: [read_options_file(run)[0]], flips),
        of(run, LOG, lambda: [read_run(run).events], flips),
        of(made.rounds, ROUNDS, lambda: [read_rounds(made.rounds)], flips),
        of(made.study, STUDY, lambda: [read_study(made.study)], flips),
        of(made.study, PLAN, lambda: [kept_plan(made.study)], flips),
        of(made.study, ANALYSIS, lambda: [read_json(made.study / ANALYSIS)], flips),
        of(made.study, f"{EXPLAINED}/{SUMMARY}", of_gallery, flips),
        of(made.card, CARD, of_card, flips),
        of(made.card, "pictures/mean-0.png", of_card, big_flips),
        of(store, "images-00000.npy", of_store, big_flips),
        of(run, f"model/{WEIGHTS}", of_model, big_flips),
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


def on_command_line(subject: Subject, sound: str) -> tuple[str, str]:
    """Return the outcome of ``hilum check`` and of a command, for a file with a flipped bit, and what was said."""
    kinds = []
    for words in (("check", str(subject.folder)), subject.words):
        heard = io.StringIO()
        before = subject.page.read_bytes() if subject.page else b""
        with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
            code = command_line(words)
        said = f"{words[0]} ended with {code}: {heard.getvalue()[-200:]}"
        if code not in (0, 1) or "Traceback" in heard.getvalue():
            return "other", said
        after = subject.page.read_bytes() if subject.page else b""
        if after != before:
            subject.page.write_bytes(before)
            return "silent", f"{words[0]} wrote another page"
        kinds.append("unchanged" if code == 0 else "refused")
    if kinds[0] == "unchanged" and outcome(subject, sound)[0] != "unchanged":
        return "silent", "check found nothing, and a value differs or is refused"
    return kinds[0], ""


def flipped(
    subject: Subject,
    flips: int,
    seed: int,
    judge: Callable[[Subject, str], tuple[str, str]] = outcome,
) -> tuple[dict[str, int], list[str]]:
    """Flip bits of a file one at a time; return how often each outcome came, and what must not be."""
    whole = subject.file.read_bytes()
    sound = digest(subject.read())
    if digest(subject.read()) != sound:
        raise ValueError(f"two readings of {subject.file} differ without a flip")
    rng = np.random.default_rng([seed, *subject.file.name.encode()])
    counts, faults = Counter(dict.fromkeys(OUTCOMES, 0)), []
    bits = 8 * len(whole)
    for place in rng.choice(bits, min(flips, bits), replace=False).tolist():
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << (place % 8)
        subject.file.write_bytes(damaged)
        kind, said = judge(subject, sound)
        counts[kind] += 1
        if kind in ("silent", "other"):
            faults.append(f"byte {place // 8} bit {place % 8}: {kind}: {said:.300}")
    subject.file.write_bytes(whole)
    return dict(counts), faults


def main() -> None:
    """Print the counts; exit 1 where a flip was silent or ended in another exception."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--flips", type=int, default=1500, help="of each small file")
    parser.add_argument("--big-flips", type=int, default=200, help="of a shard and the weights")
    parser.add_argument("--commands", type=int, default=30, help="flips on the command line")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    chosen = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = drawn(Path(folder), chosen.seed)
        for subject in subjects(made, chosen.flips, chosen.big_flips):
            name = f"{subject.folder.name}/{subject.file.relative_to(subject.folder)}"
            ways = {"": (subject.flips, outcome), " (commands)": (chosen.commands, on_command_line)}
            for way, (flips, judge) in ways.items():
                counts, faults = flipped(subject, flips, chosen.seed, judge)
                result[name + way] = counts
                say(f"{name}{way}: " + ", ".join(f"{n} {kind}" for kind, n in counts.items()))
                for fault in faults:
                    say(f"  {fault}")
    bad = sum(counts["silent"] + counts["other"] for counts in result.values())
    if chosen.json:
        say(json.dumps({"seed": chosen.seed, "bad": bad, "files": result}))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
