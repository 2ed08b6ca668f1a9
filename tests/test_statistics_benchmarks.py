"""The simulation of intervals and tests in its short form, and the timing of the bootstrap without its time."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
SETS = 200


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "statistics_simulation", BENCHMARKS / "statistics_simulation.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_intervals_cover_and_tests_err_about_as_often_as_they_say() -> None:
    asked = ["--sets", str(SETS), "--resamples", "300", "--scenarios", "rare, AUROC 0.9"]
    shown = run("statistics_simulation.py", "--json", *asked)
    (found,) = json.loads(shown.stdout.splitlines()[-1])["scenarios"]
    assert found["positive_patients"] >= 50
    reach = (
        3 * (0.95 * 0.05 / SETS) ** 0.5
    )  # findings of a set hang together: three of them count as one
    for name in ("single", "macro"):
        assert abs(found[name] - 0.95) < reach, found
    for name in ("test_single", "test_macro"):
        assert abs(found[name] - 0.05) < reach, found


@pytest.mark.torture
def test_the_whole_simulation_meets_its_targets() -> None:
    shown = run("statistics_simulation.py")
    assert shown.returncode == 0, shown.stdout


@pytest.mark.parametrize("name", ["balanced, AUROC 0.75", "rare, AUROC 0.9"])
def test_the_truth_of_a_scenario_is_what_many_patients_have(
    simulation: ModuleType, name: str
) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    (scenario,) = [one for one in simulation.SCENARIOS if one.name == name]
    many = simulation.Scenario("many", scenario.auroc, scenario.prevalence, 30_000)
    data = simulation.draw(many, np.random.default_rng(0))
    for model in data.scores:
        areas = [roc_auc_score(t, s) for t, s in zip(data.truth.T, model.T, strict=True)]
        assert areas == pytest.approx([scenario.auroc] * 3, abs=0.01)
        precisions = [
            average_precision_score(t, s) for t, s in zip(data.truth.T, model.T, strict=True)
        ]
        assert precisions == pytest.approx([many.average_precision] * 3, abs=0.015)


def test_films_of_a_patient_resemble_each_other(simulation: ModuleType) -> None:
    data = simulation.draw(simulation.SCENARIOS[0], np.random.default_rng(0))
    same = np.flatnonzero(data.patients[1:] == data.patients[:-1])
    scores = np.concatenate(
        [
            simulation.draw(simulation.SCENARIOS[0], np.random.default_rng(1)).scores[0],
            data.scores[0],
        ]
    )
    assert len(same) > 50
    assert np.corrcoef(data.scores[0, same, 0], data.scores[0, same + 1, 0])[0, 1] > 0.25
    assert abs(np.corrcoef(scores[:-40, 0], scores[40:, 0])[0, 1]) < 0.25
    assert np.corrcoef(data.scores[0, :, 0], data.scores[1, :, 0])[0, 1] > 0.4


def test_the_bootstraps_timing_gives_scikit_learns_numbers() -> None:
    small = [
        "--films",
        "600",
        "--patients",
        "200",
        "--findings",
        "3",
        "--resamples",
        "20",
        "--repeats",
        "1",
    ]
    shown = run("bootstrap_speed.py", "--json", "--limit", "1000", *small)
    assert shown.returncode == 0, shown.stderr
    result = json.loads(shown.stdout.splitlines()[-1])
    assert result["largest_error"] < 1e-12
    assert result["seconds"] >= 0
