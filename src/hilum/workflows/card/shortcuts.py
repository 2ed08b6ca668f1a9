"""Shortcuts: how well probes that see no chest predict each finding, beside the whole film."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.arrays import BoolArray, FloatArray, Rows
from hilum.classifier.linear_baseline import linear_baseline_scores
from hilum.errors import OptionError
from hilum.findings import positions
from hilum.images.films import Films
from hilum.labels import LabelOptions
from hilum.listener import SILENT, Listener
from hilum.metrics.comparisons import holm
from hilum.metrics.estimates import patients_by_class
from hilum.metrics.interval_options import IntervalOptions
from hilum.metrics.resampling import EvaluationLabels
from hilum.metrics.results import Estimate
from hilum.metrics.shortcut_rule import RULE, chance_p, share_of_knowledge, tells_too_much
from hilum.metrics.summary import evaluate_findings
from hilum.workflows.card.shortcut_probes import PROBES, Probe
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.data.targets import label_kinds, labelled_rows, probe_labels

Areas = Mapping[str, Estimate]
"""AUROC by finding."""

LEARNT = 20_000
"""Training films that the probes learn from, at most."""
MODEL, WHOLE = "model", "whole"
"""The readers of whole films: a model, and the last of PROBES."""


@dataclass(frozen=True)
class Flag:
    """A finding that a probe without sight of the chest predicts too well."""

    finding: str
    probe: str
    auroc: Estimate
    reference: str
    """The best reader of the whole film: "whole" or "model"."""
    reference_auroc: float
    share: float
    """Of what the reference knows above chance, how much the probe does; infinite where that is
    nothing."""
    p_holm: float
    """Of the probe's AUROC being 0.5, adjusted for all blind probes and findings."""

    @property
    def words(self) -> str:
        """The flag as a sentence."""
        reader = "the model" if self.reference == MODEL else "the same probe of the whole film"
        return (
            f"{self.finding}: AUROC {self.auroc.value:.3f} from {PROBES[self.probe].sees}; "
            f"{reader} has {self.reference_auroc:.3f}."
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "finding": self.finding, "probe": self.probe, "auroc": self.auroc.to_json(), "reference": self.reference,
            "reference_auroc": self.reference_auroc, "share": self.share if math.isfinite(self.share) else None,
            "p_holm": self.p_holm, "words": self.words,
        }  # fmt: skip


@dataclass(frozen=True)
class Shortcuts:
    """AUROC of each probe for each finding, on films of patients that it was not trained on."""

    split: str
    films: int
    patients: int
    training_films: int
    findings: tuple[str, ...]
    """Those that the probes could learn, in the films' order."""
    findings_judged: tuple[str, ...]
    """Of them those with enough positive patients to be flagged."""
    min_positives: int
    auroc: Mapping[str, Areas]
    """By probe, in the order of PROBES, then by finding."""
    model: Areas | None
    """The model's on the same films; None where none was given. A finding that it does not call is
    not in it."""
    flags: tuple[Flag, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "split": self.split,
            "films": self.films,
            "patients": self.patients,
            "training_films": self.training_films,
            "findings": list(self.findings),
            "findings_judged": list(self.findings_judged),
            "min_positives": self.min_positives,
            "rule": RULE,
            "probes": {
                name: {
                    "sees": PROBES[name].sees,
                    "blind": PROBES[name].blind,
                    "auroc": _plain(areas),
                }
                for name, areas in self.auroc.items()
            },
            "model": None if self.model is None else _plain(self.model),
            "flags": [flag.to_json() for flag in self.flags],
        }


def shortcut_probes(
    films: Films,
    subsets: Subsets,
    labels: LabelOptions | None = None,
    split: str = "test",
    min_positives: int = 20,
    resamples: int = 1000,
    seed: int = 0,
    model_scores: tuple[NDArray[np.floating], Sequence[str]] | None = None,
    listener: Listener = SILENT,
    learnt: int = LEARNT,
) -> Shortcuts:
    """Train each of PROBES on the training set and measure it on another subset.

    Args:
        films: All films.
        subsets: Their splits.
        labels: How uncertain and unstated labels are taken; None takes the defaults.
        split: The split to measure on: val, test or official-test.
        min_positives: Positive patients there that a finding needs to be flagged.
        resamples: Of the patients, for the intervals.
        seed: Of the resampling, and of the patients that choose a probe's ridge.
        model_scores: A model's scores [n, M] of the films ``subsets.rows(split)`` in that order, and
            its M findings.
        listener: Hears progress.
        learnt: Training films at most, drawn by the seed, so that millions take no longer.

    Raises:
        DataError: A split is empty, or no training film of another patient has a label that counts.
        OptionError: An unknown split, one that the probes are trained on, or labels that no probe can
            learn.
        ValueError: The model's scores are not [n, M].
    """
    task = _Task.of(films, subsets, labels or LabelOptions(), split).with_at_most(learnt, seed)
    scores = {}
    for done, (name, probe) in enumerate(PROBES.items()):
        listener.progress("shortcuts", done, len(PROBES), name)
        scores[name] = task.read(probe, seed)
    listener.progress("shortcuts", len(PROBES), len(PROBES))
    all_findings = range(len(task.findings))
    areas = {
        name: task.areas(predicted, all_findings, min_positives, resamples, seed)
        for name, predicted in scores.items()
    }
    model = (
        None
        if model_scores is None
        else task.areas(*task.called(*model_scores), min_positives, resamples, seed)
    )
    judged = task.judged(min_positives)
    flags = tuple(_flags(areas, model or {}, task.tests(scores, judged)))
    return Shortcuts(
        split, len(task.tested), subsets.patients(task.tested), len(task.rows), task.findings, judged, min_positives,
        areas, model, flags,
    )  # fmt: skip


@dataclass(frozen=True)
class _Task:
    """The training and test data of every probe."""

    films: Films
    rows: Rows
    tested: Rows
    findings: tuple[str, ...]
    targets: FloatArray
    weights: FloatArray
    truth: FloatArray
    counts: BoolArray

    @staticmethod
    def of(films: Films, subsets: Subsets, labels: LabelOptions, split: str) -> _Task:
        if split in ("train", "all"):
            raise OptionError(
                f"split is {split!r}, which the probes learn from: choose test, val or official-test."
            )
        targets, weights = probe_labels(films, labels)
        learnt, tested = subsets.needed("train"), subsets.needed(split)
        rows = labelled_rows(subsets.of_others(learnt, tested), weights)
        columns = np.flatnonzero(label_kinds(targets, weights, rows).counted)
        truth, counts = truth_of(films, tested, labels.unstated)
        findings = tuple(films.findings[column] for column in columns)
        return _Task(
            films, rows, tested, findings,
            targets[rows][:, columns], weights[rows][:, columns], truth[:, columns], counts[:, columns],
        )  # fmt: skip

    def with_at_most(self, learnt: int, seed: int) -> _Task:
        """Return the task with fewer training films, where there are more."""
        if len(self.rows) <= learnt:
            return self
        kept = np.sort(np.random.default_rng(seed).choice(len(self.rows), learnt, replace=False))
        return replace(
            self, rows=self.rows[kept], targets=self.targets[kept], weights=self.weights[kept]
        )

    def read(self, probe: Probe, seed: int) -> FloatArray:
        """Return a probe's scores of the tested films [n, F]."""
        features, learnt = (
            probe.features(self.films, np.concatenate([self.rows, self.tested])),
            len(self.rows),
        )
        people = self.films.patient_codes[self.rows]
        return linear_baseline_scores(
            features[:learnt], self.targets, self.weights, people, features[learnt:], seed
        )

    def areas(
        self,
        scores: NDArray[np.floating],
        places: Sequence[int],
        min_positives: int,
        resamples: int,
        seed: int,
    ) -> Areas:
        """Return the AUROC of scores [n, K] of the findings at K places."""
        if not places:
            return {}
        columns = list(places)
        patients = self.films.patient_codes[self.tested]
        evaluation = evaluate_findings(
            EvaluationLabels.of(self.truth[:, columns], self.counts[:, columns], patients),
            scores,
            [self.findings[column] for column in columns],
            options=IntervalOptions(resamples=resamples, seed=seed, min_positives=min_positives),
        )
        return {finding.name: finding.measures["auroc"] for finding in evaluation.findings}

    def judged(self, min_positives: int) -> tuple[str, ...]:
        """Return the findings with enough positive patients, and two without it."""
        judged = EvaluationLabels.of(self.truth, self.counts, self.films.patient_codes[self.tested])
        pairs = [patients_by_class(judged, column) for column in range(len(self.findings))]
        return tuple(
            name for name, (present, absent) in zip(self.findings, pairs, strict=True)
            if present >= max(min_positives, 2) and absent >= 2
        )  # fmt: skip

    def tests(
        self, scores: Mapping[str, FloatArray], judged: Sequence[str]
    ) -> dict[tuple[str, str], float]:
        """Return the adjusted p value of every blind probe's AUROC of a judged finding being 0.5."""
        people = self.films.patient_codes[self.tested]
        pairs = [(name, finding) for name in scores if PROBES[name].blind for finding in judged]
        p_values = []
        for name, finding in pairs:
            column = self.findings.index(finding)
            cells = self.counts[:, column]
            p_values.append(
                chance_p(self.truth[cells, column], scores[name][cells, column], people[cells])
            )
        return dict(zip(pairs, holm(p_values), strict=True))

    def called(
        self, scores: NDArray[np.floating], names: Sequence[str]
    ) -> tuple[NDArray[np.floating], list[int]]:
        """Return of a model's scores [n, M] those of the task's findings [n, K], and K columns."""
        if scores.shape != (len(self.tested), len(names)):
            raise ValueError(
                f"scores are {scores.shape}, expected {(len(self.tested), len(names))}"
            )
        columns = positions(self.findings, names)
        called = [index for index, column in enumerate(columns) if column is not None]
        return scores[:, [column for column in columns if column is not None]], called


def _flags(
    areas: Mapping[str, Areas], model: Areas, tests: Mapping[tuple[str, str], float]
) -> Iterator[Flag]:
    """Yield the flags of blind probes, each compared with the best reader of whole films."""
    for (name, finding), p_holm in tests.items():
        blind, value = areas[name][finding], areas[name][finding].value
        # The model comes first: max takes it where both are equal.
        readers = {
            MODEL: model[finding].value if finding in model else None,
            WHOLE: areas[WHOLE][finding].value,
        }
        reference, area = max(
            ((reader, auroc) for reader, auroc in readers.items() if auroc is not None),
            key=lambda reader: reader[1],
        )
        if value is not None and tells_too_much(value, p_holm, area):
            yield Flag(
                finding, name, blind, reference, area, share_of_knowledge(value, area), p_holm
            )


def _plain(areas: Areas) -> dict[str, Any]:
    return {finding: area.to_json() for finding, area in areas.items()}
