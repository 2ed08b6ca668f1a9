"""How often do the intervals cover the truth, and how often does the paired test find a difference that is not there?

Draws data sets whose true AUROC is known: patients have one to five films; the films of one patient
have like labels and like scores, findings hang together within a film, and two models of the same
true AUROC err alike. A score is normal with variance 1, its mean apart by d where the finding is
present, and its error does not depend on the labels: so the AUROC of two films drawn from all
patients is Phi(d / sqrt 2), clustered or not. (Pairs of films of one patient are told apart better;
they are about one pair in as many as there are patients, and are not left out.) Average precision
has no such form: its truth is integrated over the score.

Each set is measured by what the package states: `evaluate_findings` for single findings and the
macro mean, and `compare_models` for the clustered DeLong test of single findings and the paired
bootstrap test of the macro mean. Each has 50 positive patients of every finding at least, and not
many more: sets with fewer are drawn again, which lifts the prevalence a little above the one that
average precision is held against. In a last scenario patients have one to fifteen films that
resemble each other closely, so that few patients weigh as much as all others.

Prints a line a scenario: coverage of 95 % intervals (the target is 93.5 to 96.5 %) and rejections
at p < 0.05 where nothing differs (3.5 to 6.5 %), with the standard error of each. ``--json`` ends
with one line of JSON. Exits 1 where a target is missed.

Run: ``python benchmarks/statistics_simulation.py --json``. Research use only, not a medical device.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hilum.arrays import BoolArray, DoubleArray
from hilum.metrics.comparisons import compare_models
from hilum.metrics.interval_options import IntervalOptions
from hilum.metrics.resampling import EvaluationLabels
from hilum.metrics.results import Estimate
from hilum.metrics.summary import evaluate_findings

NORMAL = NormalDist()
FINDINGS = ("first", "second", "third")
LEAST_POSITIVES = 50
SAME_FINDINGS, SAME_MODELS = 0.3, 0.6
"""Share of a score's variance that findings of a film, and both models, have in common."""
COVERAGE, ERRORS = (0.935, 0.965), (0.035, 0.065)


@dataclass(frozen=True)
class Scenario:
    """A kind of data set."""

    name: str
    auroc: float
    prevalence: float
    """Share of films with each finding."""
    patients: int
    most_films: int = 5
    """A patient has 1 to so many, each number as likely."""
    same_patient: float = 0.5
    """Share of the variance that films of a patient have in common, of labels and scores."""

    @property
    def apart(self) -> float:
        """How far the scores' means lie apart."""
        return 2**0.5 * NORMAL.inv_cdf(self.auroc)

    @property
    def average_precision(self) -> float:
        """What average precision is over very many patients, by integration."""
        grid = np.linspace(-7.0, 7.0 + self.apart, 20_001)
        found = np.array([NORMAL.cdf(self.apart - cut) for cut in grid])
        alarms = np.array([NORMAL.cdf(-cut) for cut in grid])
        precision = (
            self.prevalence * found / (self.prevalence * found + (1 - self.prevalence) * alarms)
        )
        return float(-np.sum((precision[1:] + precision[:-1]) / 2 * np.diff(found)))


SCENARIOS = (
    *(
        Scenario(f"{word}, AUROC {area:g}", area, prevalence, patients)
        for word, prevalence, patients in (("balanced", 0.5, 80), ("rare", 0.08, 330))
        for area in (0.6, 0.75, 0.9)
    ),
    Scenario("very unequal patients, AUROC 0.9", 0.9, 0.4, 90, most_films=15, same_patient=0.8),
)


class DataSet(NamedTuple):
    """Films of one draw, N of them."""

    truth: DoubleArray
    """[N, F]"""
    scores: DoubleArray
    """[2, N, F] of two models."""
    patients: NDArray[np.int64]
    """[N]"""


def draw(scenario: Scenario, rng: np.random.Generator) -> DataSet:
    """Return a data set with enough positive patients of every finding; labels are drawn again until there are."""
    while True:
        patients = np.repeat(
            np.arange(scenario.patients),
            rng.integers(1, scenario.most_films + 1, scenario.patients),
        )
        latent = _correlated(rng, patients, scenario.same_patient, SAME_FINDINGS)
        truth: BoolArray = latent > NORMAL.inv_cdf(1 - scenario.prevalence)
        positive = [len(np.unique(patients[column])) for column in truth.T]
        if min(positive) >= LEAST_POSITIVES:
            break
    common, *own = (
        _correlated(rng, patients, scenario.same_patient, SAME_FINDINGS) for _ in range(3)
    )
    errors = [SAME_MODELS**0.5 * common + (1 - SAME_MODELS) ** 0.5 * error for error in own]
    return DataSet(truth.astype(np.float64), scenario.apart * truth + np.stack(errors), patients)


def _correlated(
    rng: np.random.Generator, patients: NDArray[np.int64], same_patient: float, same_findings: float
) -> DoubleArray:
    """Normal numbers [N, F] of variance 1 that films of a patient, and findings, share in part."""

    def shared(rows: int) -> DoubleArray:
        both = rng.normal(size=(rows, 1)), rng.normal(size=(rows, len(FINDINGS)))
        mixed: DoubleArray = same_findings**0.5 * both[0] + (1 - same_findings) ** 0.5 * both[1]
        return mixed

    people = shared(int(patients[-1]) + 1)[patients]
    found: DoubleArray = same_patient**0.5 * people + (1 - same_patient) ** 0.5 * shared(
        len(patients)
    )
    return found


def simulate(scenario: Scenario, sets: int, resamples: int, seed: int) -> dict[str, Any]:
    """Return coverage and rejections over so many data sets, each with its standard error."""
    counted: dict[str, list[float]] = {}
    precision = scenario.average_precision
    for number in range(sets):
        data = draw(scenario, np.random.default_rng([seed, SCENARIOS.index(scenario), number]))
        for name, hits in _judged(data, scenario.auroc, precision, resamples, number).items():
            counted.setdefault(name, []).append(float(np.mean(hits)))
    found: dict[str, Any] = {"scenario": scenario.name, "sets": sets, "resamples": resamples}
    for name, shares in counted.items():
        found[name] = float(np.mean(shares))
        if not name.endswith(
            "patients"
        ):  # findings of one set hang together: the error is over sets
            found[f"{name}_error"] = float(np.std(shares, ddof=1) / sets**0.5)
    return found


def _judged(
    data: DataSet, auroc: float, precision: float, resamples: int, seed: int
) -> dict[str, Sequence[float]]:
    """What holds in one data set, by name; several where there are several findings."""
    mask = np.ones_like(data.truth)
    evaluated = evaluate_findings(
        EvaluationLabels.of(data.truth, mask, data.patients),
        data.scores[0],
        FINDINGS,
        options=IntervalOptions(resamples=resamples, seed=seed, min_positives=LEAST_POSITIVES),
    )
    compared = compare_models(
        EvaluationLabels.of(data.truth, mask, data.patients),
        data.scores[0],
        data.scores[1],
        FINDINGS,
        IntervalOptions(resamples=resamples, seed=seed, min_positives=LEAST_POSITIVES),
    )
    single = [finding.measures for finding in evaluated.findings]
    return {
        "positive_patients": [finding.positive_patients for finding in evaluated.findings],
        "single": [covers(measures["auroc"], auroc) for measures in single],
        "macro": [covers(evaluated.auroc_macro, auroc)],
        "average_precision": [
            covers(measures["average_precision"], precision) for measures in single
        ],
        "test_single": [_below(one.p) for one in compared.auroc.values()],
        "test_macro": [_below(compared.auroc_macro.p)],
    }


def covers(estimate: Estimate, truth: float) -> float:
    """Return 1 where an interval holds the truth, else 0.

    Raises:
        ValueError: There is no interval.
    """
    if estimate.interval is None:
        raise ValueError(f"no interval: {estimate.reason}")
    return float(estimate.interval.low <= truth <= estimate.interval.high)


def _below(p: float | None) -> float:
    if p is None:
        raise ValueError("a difference was not tested")
    return float(p < 0.05)


def missed(found: dict[str, Any]) -> list[str]:
    """Return which targets a scenario misses, in words."""
    targets = {"single": COVERAGE, "macro": COVERAGE, "test_single": ERRORS, "test_macro": ERRORS}
    return [
        f"{found['scenario']}: {name} {found[name]:.4f}, wanted {low:g} to {high:g}"
        for name, (low, high) in targets.items()
        if not low <= found[name] <= high
    ]


def line(found: dict[str, Any]) -> str:
    """Return a scenario's line."""
    names = ("single", "macro", "average_precision", "test_single", "test_macro")
    cells = " | ".join(
        f"{100 * found[name]:.1f} ± {100 * found[f'{name}_error']:.1f}" for name in names
    )
    return f"| {found['scenario']} | {found['positive_patients']:.0f} | {cells} |"


def main() -> None:
    """Simulate all scenarios and print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=2000, help="data sets a scenario")
    parser.add_argument("--resamples", type=int, default=1000, help="of the patients of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--scenarios",
        nargs="+",
        default=[one.name for one in SCENARIOS],
        help="some of them, by name",
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    began, results = time.process_time(), []
    print(
        "| scenario | positive patients | single | macro | average precision | test, single | test, macro |"
    )
    print("|---|---|---|---|---|---|---|")
    for scenario in SCENARIOS:
        if scenario.name in chosen.scenarios:
            results.append(simulate(scenario, chosen.sets, chosen.resamples, chosen.seed))
            print(line(results[-1]), flush=True)
    wrong = [said for found in results for said in missed(found)]
    print("\n".join(wrong) or "all targets are met")
    if chosen.json:
        seconds = round(time.process_time() - began, 1)
        print(
            json.dumps(
                {
                    "scenarios": results,
                    "missed": wrong,
                    "seed": chosen.seed,
                    "processor_seconds": seconds,
                }
            )
        )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
