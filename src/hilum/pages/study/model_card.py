"""The runs that failed and the model card, on a study's page."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from hilum.counts import counted
from hilum.pages.read import Run
from hilum.pages.study.calibration_and_subgroups import other_findings
from hilum.pages.study.pseudo_labels import self_training_in_words
from hilum.pages.study.read import Study
from hilum.pages.study.results import percent, trained_on
from hilum.pages.tables import Cell, Table, number, numbers, share, table, word, words
from hilum.pages.wording import formatted, listed
from hilum.workflows.study.record import StudyCell

FILM, PATIENT = "\0", "\1"
"""Stand for what was replaced until all is: their words might hold what some patient is called."""
ENDINGS = r"\.(?:png|jpe?g|dcm|dicom)\b"
PART = rf"[\w./\\{PATIENT}-]*"
NAMED_PATH = re.compile(
    rf"(?<![^\s'\"(])(?:[A-Za-z]:)?[/\\](?:(?!\.\s)[^:'\"\n])*?(?:{ENDINGS}|{FILM})|{PART}(?:{ENDINGS}|{FILM})",
    re.IGNORECASE,
)
"""A film's path, which may hold a patient's number; blanks are a part of one that begins at the
root."""
LONG = 6
"""Digits from which a number is a patient's wherever it stands; shorter ones may be a step or a
count."""


def failed_table(study: Study) -> Table | None:
    """Return the runs that failed with their errors; what names patients is left out."""
    columns = [
        words("run", "id"),
        words("model", "model"),
        numbers("labels", "fraction"),
        numbers("seed", "seed"),
        words("error", "error"),
    ]
    if not study.record.failed:
        return None
    patients, paths = known_names(study)
    rows = [
        [
            word(cell.id),
            word(cell.model),
            share(cell.fraction) if cell.fraction else Cell("-", (None,)),
            number(cell.seed),
            word(nameless(cell.error or "no reason was recorded", patients, paths)),
        ]
        for cell in study.record.failed
    ]
    return table("failed-runs", "Runs that failed", columns, rows)


def known_names(study: Study) -> tuple[set[str], set[str]]:
    """Return the patients and the paths of films of the study's stores."""
    catalogs = [store.catalog for store in study.stores]
    patients, paths = (
        {str(name) for catalog in catalogs for name in catalog[column].unique()}
        for column in ("patient", "path")
    )
    return patients, paths


def nameless(line: str, patients: Collection[str] = (), paths: Collection[str] = ()) -> str:
    """Return a line without the paths of films and without patients.

    A patient whose name is a short number is replaced only in a line that speaks of a patient, or
    in quotes.

    Args:
        line: Of an error.
        patients: Those that are known; others cannot be told from words.
        paths: Of films that are known. Other paths are known by their ending, and without the words
            before a blank.

    >>> nameless("train/patient00012/study1/view1.jpg cannot be read: it is cut.")
    '(a film) cannot be read: it is cut.'
    >>> nameless("patient 'p7' stands in train and in test.", {"p7"})
    'patient (a patient) stands in train and in test.'
    >>> nameless("Ann Roe 7/film.png is cut.", {"Ann Roe 7"}, {"Ann Roe 7/film.png"})
    '(a film) is cut.'
    """
    for path in _longest_first(path for path in paths if path in line):
        line = line.replace(path, FILM)
    spoken_of = "patient" in line.casefold()
    for name in _longest_first(name for name in patients if name and name in line):
        bare = spoken_of or len(name) >= LONG or not name.isdigit()
        quoted = f"'{re.escape(name)}'"
        # A bare name only where it is no part of a longer word or number.
        alone = rf"{quoted}|(?<![\w.]){re.escape(name)}(?!\w|\.\d)"
        line = re.sub(alone if bare else quoted, PATIENT, line)
    return NAMED_PATH.sub(FILM, line).replace(FILM, "(a film)").replace(PATIENT, "(a patient)")


def _longest_first(names: Iterable[str]) -> list[str]:
    """Return names so that one that is a part of another comes after it."""
    return sorted(names, key=lambda name: (-len(name), name))


def card(study: Study) -> list[tuple[str, str]] | None:
    """Return the card of the model that validation films like best: what it is for, made of, worth, and not."""
    best = study.best
    run = study.run(best) if best else None
    if best is None or run is None:
        return None
    return [
        *_made(study, best, run),
        *_worth(study, best),
        (
            "Thresholds",
            "chosen on validation films and stored in the model; see the tables of operating points",
        ),
        ("Limits", "see the section above; it was measured on one source only"),
        ("Weights", f"SHA-256 {run.model.weights_sha256}"),
    ]


def _made(study: Study, best: StudyCell, run: Run) -> Iterator[tuple[str, str]]:
    """Yield what the model is, what it takes and gives, and what it learnt from."""
    labels, size = percent(best.fraction or 1.0), study.store.preparation.size
    yield (
        "Model",
        f"{best.model}, {best.backbone}, {labels} of the labels, seed {best.seed}, in {best.run}/model",
    )
    chosen = f" ({best.validation_auroc:.3f})" if best.validation_auroc is not None else ""
    yield (
        "Chosen by",
        f"the best mean AUROC on validation films{chosen} at {labels} of the labels; not by test films",
    )
    yield (
        "Intended use",
        "research on radiographs and on training; not a medical device, not for any patient's care",
    )
    yield (
        "Input",
        f"one grey film, brought to {size} x {size} px by the preparation that is stored with the model",
    )
    findings = list(run.model.findings)
    yield (
        "Output",
        f"a probability for each of {counted(len(findings), 'finding')}: {listed(findings)}",
    )
    trained = study.store.source
    row = next((row for row in study.rows if best.id in row.cells), None)
    if row is not None:
        films, patients = trained_on(study, row)
        trained = f"{films.text} films of {patients.text} patients of {study.store.source}"
    yield "Trained on", trained
    for one in study.self_trained:
        if one.cell == best:
            yield "Pseudo-labels", self_training_in_words(one)
    unstated = run.model.unstated
    yield "Uncertain labels", f"policy {best.policy}; what is not stated counts as: {unstated}"


def _worth(study: Study, best: StudyCell) -> Iterator[tuple[str, str]]:
    """Yield what the model reached on test films, where it was measured."""
    evaluation = study.evaluation(best)
    if evaluation is None:
        return
    mean, scored = formatted(evaluation.auroc), counted(len(evaluation.findings_scored), "finding")
    ends = (
        f" ({evaluation.level:.0%} interval over patients {mean.interval})" if mean.interval else ""
    )
    films = f"{counted(evaluation.films, 'test film')} of {counted(evaluation.patients, 'patient')}"
    yield (
        "Result",
        f"mean AUROC {mean.value}{ends} over {scored}{other_findings(study, evaluation)}, on {films}",
    )
    calibration = evaluation.calibration
    if calibration is None or calibration.ece_mean is None:
        yield "Calibration", "not tested: no probability of a scored finding is known"
        return
    before = calibration.ece_raw_mean
    worse = before is not None and calibration.ece_mean > before
    yield (
        "Calibration",
        f"mean expected calibration error {calibration.ece_mean:.3f}, after scaling on validation films"
        + (f"; worse than the {before:.3f} before it" if worse else ""),
    )
