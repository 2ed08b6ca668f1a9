"""How long does an evaluation's bootstrap take: AUROC and average precision of every finding in every resample?

Draws labels and scores at the size of a public test set and times what an evaluation does with them
(`hilum.metrics.resampling`): the resamples of the patients are drawn, and every finding is ranked
and measured in each. For comparison the plain way is timed on a few resamples: scikit-learn on the
films of each, one finding after the other. Both give the same numbers, which is checked first.

Prints the seconds of each, and with ``--json`` one line of JSON. Exits 1 above ``--limit`` seconds.

Run: ``python benchmarks/bootstrap_speed.py --json``. Under a minute. Research use only, not a
    medical device.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from hilum.arrays import DoubleArray
from hilum.metrics.resampling import EvaluationLabels, rank_findings, weightings

PLAIN = 3
"""Resamples of the plain way."""


def cohort(
    films: int, patients: int, findings: int, most: float
) -> tuple[EvaluationLabels, DoubleArray]:
    """Return films with findings from rare to as common as ``most``, and scores [N, F] that know a little of them."""
    rng = np.random.default_rng(0)
    who = np.sort(rng.integers(patients, size=films))
    truth = rng.random((films, findings)) < np.geomspace(0.002, most, findings)
    return EvaluationLabels.of(truth, np.ones_like(truth), who), rng.normal(
        size=truth.shape
    ) + truth


def plain(
    judged: EvaluationLabels, scores: DoubleArray, weights: NDArray[np.uint16]
) -> DoubleArray:
    """Return both measures [2, R, F] by scikit-learn on copies of the films."""
    found = np.empty((2, len(weights), scores.shape[1]))
    for row, counts in enumerate(weights):
        films = np.repeat(np.arange(len(scores)), counts[judged.patients])
        for finding in range(scores.shape[1]):
            truth, said = judged.truth[films, finding], scores[films, finding]
            found[:, row, finding] = (
                roc_auc_score(truth, said),
                average_precision_score(truth, said),
            )
    return found


def main() -> None:
    """Check, time and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=int, default=25_000)
    parser.add_argument("--patients", type=int, default=8_000)
    parser.add_argument("--findings", type=int, default=14)
    parser.add_argument(
        "--most", type=float, default=0.5, help="share of films with the commonest finding"
    )
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--limit", type=float, default=10.0, help="seconds that the median may take"
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    judged, scores = cohort(chosen.films, chosen.patients, chosen.findings, chosen.most)
    few = weightings(judged, PLAIN, 0)
    began = time.perf_counter()
    expected = plain(judged, scores, few[1:])
    each = (time.perf_counter() - began) / PLAIN
    found = rank_findings(judged, scores[None], few)
    error = max(
        float(np.abs(found[name][1:] - expected[place]).max()) for place, name in enumerate(found)
    )
    before = time.process_time()
    seconds = [timed(judged, scores, chosen.resamples) for _ in range(chosen.repeats)]
    processor = (time.process_time() - before) / chosen.repeats
    result = {
        **{
            name: getattr(chosen, name)
            for name in ("films", "patients", "findings", "most", "resamples", "threads")
        },
        "seconds": round(median(seconds), 2),
        "seconds_each": [round(one, 2) for one in seconds],
        "processor_seconds": round(processor, 2),
        "plain_seconds_by_reckoning": round(each * chosen.resamples, 1),
        "largest_error": error,
        "load": round(os.getloadavg()[0], 1),
    }
    for name, value in result.items():
        print(f"{name.replace('_', ' ')}: {value}")
    if chosen.json:
        print(json.dumps(result))
    sys.exit(0 if median(seconds) <= chosen.limit and error < 1e-12 else 1)


def timed(judged: EvaluationLabels, scores: DoubleArray, resamples: int) -> float:
    """Return the seconds of all resamples of all findings."""
    began = time.perf_counter()
    rank_findings(judged, scores[None], weightings(judged, resamples, 0))
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
