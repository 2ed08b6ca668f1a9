"""The page of a measured run: films with heatmaps, ROC curves, comparisons, calibration, and no path of the machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hilum.files import write_hashed_json
from hilum.pages.pages import run_page, write_report
from hilum.pages.read import read_run
from hilum.pages.run.films import FOLDER, run_films
from hilum.pages.run.sections import leaves, without_paths
from hilum.training.run_folder import METRICS
from hilum.workflows.evaluate.evaluate import evaluate
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.study.gallery import SUMMARY

RUN = "runs/moco-100-ignore-seed-0"


@pytest.fixture
def run(own_demo: Path, give_thresholds: Callable[[Path], None]) -> Path:
    """A run whose metrics name the store of its own copy, measured with thresholds for every finding."""
    folder, store = own_demo / RUN, own_demo / "store"
    give_thresholds(folder)  # one epoch on 100 films is not shown to have learnt anything
    for split in ("val", "test"):
        evaluate(
            folder,
            EvaluateOptions(
                data=store, split=split, min_positives=2, resamples=40, subgroup_patients=2
            ),
        )
    change(folder, lambda metrics: point_at(metrics, store))
    return folder


def point_at(metrics: dict[str, Any], store: Path) -> None:
    for evaluation in metrics["evaluations"].values():
        evaluation["options"]["data"] = str(store)


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((folder / METRICS).read_text("utf-8"))
    edit(metrics)
    write_hashed_json(folder / METRICS, metrics)
    return metrics


def test_films_with_heatmaps_and_roc_curves_are_shown_from_its_store(run, parsed, plain):
    text = run_page(run)
    assert "Films with heatmaps Films of the test split." in plain(text)
    films = json.loads((run / FOLDER / SUMMARY).read_text("utf-8"))["films"]
    assert films
    assert text.count('alt="Heatmap for ') == len(films)
    assert {film["outcome"] for film in films} & {"false positive", "false negative"}
    curves = run_films(read_run(run)).curves["test"]
    assert text.count("ROC curve, ") >= len(curves) > 5
    assert all(points[0] == (0, 0) and points[-1] == (1, 1) for points in curves.values() if points)
    assert parsed(text).open == []


def test_operating_points_lie_on_the_curve(run):
    record = read_run(run)
    curves = run_films(record).curves["test"]
    checked = 0
    for finding, points in record.evaluations["test"].operating_points.items():
        for point in points:
            if point.sensitivity and point.specificity and point.sensitivity.value is not None:
                if point.specificity.value is None or not curves[finding]:
                    continue
                mark = (1 - point.specificity.value, point.sensitivity.value)
                assert any(mark == pytest.approx(corner) for corner in curves[finding]), finding
                checked += 1
    assert checked


def test_the_page_is_the_same_again_and_keeps_its_films_without_the_store(run, own_demo, plain):
    first = write_report(run).report.read_bytes()
    assert write_report(run).report.read_bytes() == first
    shutil.rmtree(own_demo / "store")
    text = run_page(run)
    assert 'alt="Heatmap for ' in text
    assert "Not drawn: the store that it was measured on is not there any more." in plain(text)


def test_without_store_and_films_the_reason_is_said(run, own_demo, plain):
    shutil.rmtree(own_demo / "store")
    words = plain(run_page(run))
    assert "Not shown: the store that it was measured on is not there any more." in words


def test_no_path_of_the_machine_is_on_the_page(run, own_demo):
    text = run_page(run)
    assert str(own_demo) not in text
    assert str(own_demo.parent) not in text
    assert dict(leaves({"data": ["/somewhere/films/store"], "init": "C:\\runs\\moco"})) == {
        "data": "store",
        "init": "moco",
    }
    assert without_paths("see /a/b/run/log.jsonl: failed") == "see log.jsonl: failed"


def difference(value: float | None, p: float | None) -> dict[str, Any]:
    ends = None if value is None else [value - 0.05, value + 0.05]
    reason = "too few patients" if value is None else None
    return {
        "value": value, "interval": ends, "left_out": 0, "reason": reason,
        "p": p, "p_holm": p, "shown": p is not None and p < 0.05,
    }  # fmt: skip


def test_the_comparison_of_evaluate_against_is_shown(run, plain):
    first, second, *_ = read_run(run).model.findings
    comparison = {
        "films": 20, "patients": 9, "same_model": False, "min_positives": 2, "level": 0.95,
        "auroc_macro": difference(0.1, None), "average_precision_macro": difference(0.1, None),
        "auroc": {}, "findings_scored": [first],
        "findings": {
            first: {"positive_patients": 7, "first": 0.8, "second": 0.7, "difference": difference(0.1, 0.01)},
            second: {"positive_patients": 1, "first": None, "second": None, "difference": difference(None, None)},
        },
    }  # fmt: skip
    change(run, lambda metrics: metrics.update(comparisons={"test": {"scratch": comparison}}))
    words = plain(run_page(run))
    assert "Compared with scratch" in words
    assert (
        "Mean AUROC minus that of scratch: +0.100 (+0.050 to +0.150): a difference is shown."
        in words
    )
    cells = words.replace(" ", "")
    assert f"{first}70.8000.700+0.100+0.050to+0.150shown".replace(" ", "") in cells
    assert f"{second}1--notavailabletoofewpatientsnottested".replace(" ", "") in cells


def test_a_calibration_that_made_the_error_worse_is_said(run, plain):
    def worse(metrics: dict[str, Any]) -> None:
        for one in metrics["evaluations"]["test"]["calibration"]["findings"].values():
            one |= {"temperature": 1.0, "shift": 0.0, "ece_raw": 0.05, "ece": 0.2}

    change(run, worse)
    words = plain(run_page(run))
    assert "0.050 before and 0.200 after" in words
    assert "Calibration made the probabilities worse on these films." in words

    def none(metrics: dict[str, Any]) -> None:
        for one in metrics["evaluations"]["test"]["calibration"]["findings"].values():
            one["temperature"] = None

    change(run, none)
    assert "Not tested: no finding was calibrated" in plain(run_page(run))


def test_a_finding_without_a_threshold_is_said_to_be_called_on_no_film(run, plain):
    path = run / "model/model.json"
    model = json.loads(path.read_text("utf-8"))
    model["thresholds"]["Edema"] = None
    model["not_called"] = {"Edema": "validation AUROC 0.52 [0.41, 0.63] is not above 0.5"}
    path.write_text(json.dumps(model), "utf-8")
    words = plain(run_page(run))
    assert "Never called, without a threshold:" in words
    assert "Edema: validation AUROC 0.52 [0.41, 0.63] is not above 0.5." in words
    assert "is not shown to have learnt anything" not in words
    path.write_text(json.dumps({**model, "learnt": False}), "utf-8")
    assert "is not shown to have learnt anything: it calls no finding" in plain(run_page(run))


def test_a_pretrained_run_that_was_not_monitored_says_so(own_demo, plain):
    run = own_demo / "runs/moco-pretrain"
    assert "gave no warning" in plain(run_page(run)) or "warning" in plain(run_page(run))
    log = run / "log.jsonl"
    lines = log.read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if '"health"' not in line and '"warning"' not in line]
    log.write_text("".join(kept), "utf-8")
    assert "Collapse: not tested: the monitor measured nothing" in plain(run_page(run))
