"""What an evaluation says beside its table, end to end on drawn phantoms."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hilum.bundle.model_folder import load_model
from hilum.cli.terminal.evaluation_details import details_text
from hilum.errors import OptionError
from hilum.findings import COMPETITION
from hilum.images.films import Films
from hilum.metrics.operating import RULES
from hilum.metrics.ranking import auroc
from hilum.metrics.reliability import expected_calibration_error, reliability
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.training.run_folder import METRICS
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.evaluate.evaluate import EvaluateResult, evaluate
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.prepare.split import SplitOptions, split
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 phantoms of 32 px."""
    root = tmp_path_factory.mktemp("phantoms")
    write_phantoms(root / "set", PhantomOptions(300, 64, 0, "even"))
    prepare(read_source("chexpert", root / "set"), root / "store", PrepareOptions(32, workers=1))
    split(root / "store", SplitOptions(test=0.4, val=0.3))
    return root / "store"


@pytest.fixture(scope="module")
def run(
    store: Path,
    tmp_path_factory: pytest.TempPathFactory,
    give_thresholds: Callable[[Path], None],
) -> Path:
    out = tmp_path_factory.mktemp("details") / "run"
    train = FinetuneTrainOptions(min_steps=0, epochs=1, batch_size=16, accelerator="cpu")
    finetune(FinetuneOptions(data=(store,), out=out, backbone="test_resnet", train=train))
    give_thresholds(out)
    return out


def measured(run: Path, store: Path, **options: Any) -> EvaluateResult:
    asked = {
        "min_positives": 5,
        "resamples": 20,
        "subgroup_patients": 5,
        "device": "cpu",
        **options,
    }
    return evaluate(run, EvaluateOptions(data=store, **asked))


@pytest.fixture(scope="module")
def told(run: Path, store: Path) -> dict[str, Any]:
    """What metrics.json says of the test films."""
    measured(run, store, prevalence=0.05)
    evaluation = json.loads((run / METRICS).read_text())["evaluations"]["test"]
    assert isinstance(evaluation, dict)
    return evaluation


def saved(run: Path, store: Path) -> tuple[pd.DataFrame, Films, np.ndarray, np.ndarray, np.ndarray]:
    films = Films.open([store])
    rows = Subsets.of(films).rows("test")
    return (
        pd.read_parquet(run / "predictions-test.parquet"),
        films,
        rows,
        *truth_of(films, rows, "absent"),
    )


def test_calibration_is_that_of_the_saved_predictions(
    told: dict[str, Any], run: Path, store: Path
) -> None:
    table, films, _, truth, counts = saved(run, store)
    calibration = told["calibration"]
    for name, found in calibration["findings"].items():
        column = films.findings.index(name)
        kept = counts[:, column]
        error = expected_calibration_error(reliability(truth[kept, column], table[name][kept]))
        assert found["ece"] == pytest.approx(error)
        assert sum(one["films"] for one in found["reliability"]) == kept.sum()
    scored = [calibration["findings"][name]["ece"] for name in told["findings_scored"]]
    assert calibration["ece_mean"] == pytest.approx(np.mean(scored))
    described = load_model(run).description.calibration
    assert {name: found["temperature"] for name, found in calibration["findings"].items()} == {
        name: None if one is None else one["temperature"] for name, one in described.items()
    }
    assert any(described.values())


def test_operating_points_are_counted_at_the_thresholds_of_the_model(
    told: dict[str, Any], run: Path, store: Path
) -> None:
    table, films, _, truth, counts = saved(run, store)
    stored = load_model(run).description
    for name, points in told["operating_points"].items():
        assert [point["rule"] for point in points] == [
            rule for rule in RULES if stored.operating_points[name][rule] is not None
        ]
        column = films.findings.index(name)
        kept = counts[:, column]
        for point in points:
            assert point["threshold"] == stored.operating_points[name][point["rule"]]
            called, has = table[name][kept] >= point["threshold"], truth[kept, column] == 1
            assert (point["true_positives"], point["false_positives"]) == (
                (called & has).sum(),
                (called & ~has).sum(),
            )
            assert point["prevalence"] == 0.05
            assert (
                point["ppv_at_prevalence"]["value"] is None
                or 0 <= point["ppv_at_prevalence"]["value"] <= 1
            )
    assert told["operating_points"]["Edema"][0]["threshold"] == stored.thresholds["Edema"]


def test_subgroups_divide_the_films_and_name_no_patient(told: dict[str, Any], store: Path) -> None:
    by_group: dict[str, int] = {}
    for one in told["subgroups"]:
        by_group[one["group"]] = by_group.get(one["group"], 0) + one["films"]
        assert (
            (one["auroc_macro"]["value"] is None)
            == (not one["findings_scored"])
            == (one["reason"] is not None)
        )
    assert by_group == {"sex": told["films"], "age": told["films"], "view_position": told["films"]}
    assert {one["value"] for one in told["subgroups"] if one["group"] == "sex"} == {"F", "M"}
    assert any(one["auroc_macro"]["interval"] for one in told["subgroups"])
    assert "patient0" not in json.dumps({**told, "predictions": ""})


def test_a_study_counts_once(told: dict[str, Any], run: Path, store: Path) -> None:
    table, films, rows, truth, counts = saved(run, store)
    studies = films.study_codes[rows]
    aurocs = []
    for name in told["findings_scored"]:
        column = films.findings.index(name)
        frame = pd.DataFrame({"study": studies, "score": table[name], "truth": truth[:, column]})
        frame["truth"] = frame["truth"].where(counts[:, column])
        best = frame.groupby("study").agg(score=("score", "max"), truth=("truth", "max")).dropna()
        aurocs.append(auroc(best["truth"], best["score"]))
    assert told["per_study"]["studies"] == len(set(studies)) < told["films"]
    assert told["per_study"]["auroc_macro"]["value"] == pytest.approx(np.mean(aurocs))


def test_the_competition_has_its_five_findings_or_is_none(
    told: dict[str, Any], run: Path, store: Path
) -> None:
    found = told["competition"]
    five = [told["auroc"][name] for name in found["findings"]]
    assert found["findings"] == [name for name in COMPETITION if name in told["findings_scored"]]
    assert found["auroc_macro"]["value"] == pytest.approx(np.mean(five))
    copy = shutil.copytree(run, run.parent / "copy")
    assert measured(copy, store, findings=("Edema", "Fracture")).to_json()["competition"] is None


def test_a_model_of_before_these_fields_is_measured_as_ever(
    run: Path, store: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    description = copy / "model" / "model.json"
    content = json.loads(description.read_text())
    for name in ("calibration", "operating_points"):
        del content[name]
    description.write_text(json.dumps(content))
    (copy / "model" / "manifest.json").unlink(missing_ok=True)
    found = measured(copy, store).to_json()
    calibration = found["calibration"]["findings"]["Edema"]
    assert calibration["temperature"] is None
    assert calibration["ece"] == calibration["ece_raw"]
    assert "not calibrated" in calibration["reason"]
    assert [point["rule"] for point in found["operating_points"]["Edema"]] == ["youden"]
    assert found["operating_points"]["Edema"][0]["ppv_at_prevalence"] is None


def test_age_bands_and_patients_of_a_group_can_be_chosen(run: Path, store: Path) -> None:
    result = measured(run, store, age_bands=(65,), subgroup_patients=1000)
    bands = [one.value for one in result.details.subgroups if one.group == "age"]
    assert bands == ["0-64", "65+"]
    assert all("too few" in str(one.auroc_macro.reason) for one in result.details.subgroups)


def test_the_text_has_a_few_lines_and_tables_for_those_who_ask(run: Path, store: Path) -> None:
    result = measured(run, store, prevalence=0.05)
    brief = details_text(result.details, result.evaluation)
    assert len(brief.splitlines()) == 3
    assert "studies" in brief
    assert "competition" in brief
    assert "before calibration" in brief
    full = details_text(result.details, result.evaluation, subgroups=True, operating_points=True)
    assert "PPV at 0.05" in full
    assert "view position" in full
    assert "patient0" not in full
    without = measured(run, store, min_positives=10_000)
    assert details_text(without.details, without.evaluation) == ""


@pytest.mark.parametrize(
    "wrong",
    [{"prevalence": 0.0}, {"prevalence": 5.0}, {"age_bands": (60, 40)}, {"subgroup_patients": 1}],
)
def test_what_cannot_be_asked_is_refused_in_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="allowed") as caught:
        EvaluateOptions(data=Path("store"), **wrong)
    assert "\n" not in str(caught.value)
