"""The interval to expect of few patients, against a simulation and against what is measured."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hilum.metrics.few_patients import PatientCounts, expected_half_width, few_patients_line
from hilum.metrics.interval_options import IntervalOptions
from hilum.metrics.ranking import auroc
from hilum.metrics.resampling import EvaluationLabels
from hilum.metrics.summary import evaluate_findings


@pytest.mark.parametrize(("present", "absent"), [(6, 60), (20, 80), (50, 50)])
def test_the_standard_error_is_that_of_exponential_scores(present: int, absent: int) -> None:
    """Hanley and McNeil derive Q1 and Q2 from exponential scores: an AUROC of 0.8 is a ratio of 4."""
    rng, truth = np.random.default_rng(0), np.repeat([1, 0], [present, absent])
    scales = np.where(truth == 1, 4.0, 1.0)
    areas = [auroc(truth, rng.exponential(scales)) for _ in range(3000)]
    factor = stats.t.ppf(0.975, min(present, absent) - 1)
    expected = expected_half_width(PatientCounts(present, absent))
    assert expected == pytest.approx(factor * np.std(areas), rel=0.05)


def test_the_expected_width_is_about_that_of_the_interval_that_is_measured() -> None:
    rng, truth = np.random.default_rng(1), np.repeat([1.0, 0.0], [12, 60])
    widths = []
    for seed in range(40):
        scores = rng.exponential(np.where(truth == 1, 4.0, 1.0))
        labels = EvaluationLabels.of(truth[:, None], np.ones((72, 1)), np.arange(72))
        options = IntervalOptions(resamples=200, seed=seed, min_positives=1)
        result = evaluate_findings(labels, scores[:, None], ["Edema"], options=options)
        ends = result.findings[0].measures["auroc"].interval
        widths.append((ends.high - ends.low) / 2)
    assert expected_half_width(PatientCounts(12, 60)) == pytest.approx(np.mean(widths), rel=0.2)


def test_fewer_patients_mean_a_wider_interval_and_one_patient_none() -> None:
    widths = [expected_half_width(PatientCounts(present, 100)) for present in (2, 5, 10, 20, 90)]
    assert widths == sorted(widths, reverse=True)
    assert expected_half_width(PatientCounts(1, 100)) is None
    assert expected_half_width(PatientCounts(100, 0)) is None


def test_a_line_names_each_finding_that_has_too_few_patients() -> None:
    counts = {
        "Mass": PatientCounts(1, 30),
        "Edema": PatientCounts(12, 19),
        "Nodule": PatientCounts(20, 11),
        "Hernia": PatientCounts(0, 31),
    }
    line = few_patients_line("test", counts)
    assert line is not None
    assert line.startswith("test has fewer than 20 patients with 3 of 4 findings, which enter no")
    assert line.endswith(
        "±0.19 for Edema (12 patients); no useful one for Mass (1 patient), Hernia (0 patients)"
    )
    assert few_patients_line("test", counts, min_positives=1) is not None
    assert few_patients_line("test", {"Nodule": PatientCounts(20, 11)}) is None
