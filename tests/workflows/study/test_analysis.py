"""The numbers across a study's runs, against scikit-learn and loops by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from heard import Heard
from sklearn.metrics import average_precision_score, roc_auc_score

from hilum.catalog import Catalog, film_table
from hilum.errors import DataError, RunError
from hilum.files import read_hashed_json, write_hashed_json
from hilum.findings import COMPETITION
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.store_writing import write_store
from hilum.metrics.comparisons import holm
from hilum.metrics.delong import auroc_covariance
from hilum.metrics.intervals import bootstrap_counts, difference_p, proportion_interval
from hilum.splits import patient_split
from hilum.training.options_file import write_options
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.evaluate.predictions import write_predictions
from hilum.workflows.study.analysis import analyse
from hilum.workflows.study.record import StudyCell, StudyRecord, StudyStore, write_study

FINDINGS = (*COMPETITION, "Hernia")
RESAMPLES, LEAST = 60, 5


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 films of 200 patients with two studies each; Hernia is rare, some labels are uncertain or not stated."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(200), 3)
    study = who * 2 + np.tile([0, 0, 1], 200)
    labels = (rng.random((400, 6)) < (0.4, 0.3, 0.3, 0.5, 0.4, 0.01))[study].astype(np.float32)
    labels[rng.random((400, 6))[study] < 0.05] = -1
    labels[rng.random((400, 6))[study] < 0.05] = np.nan
    rows = {
        "path": [f"{film}.png" for film in range(600)],
        "patient": [f"p{person}" for person in who],
        "study": [f"s{number}" for number in study],
        **dict(zip(FINDINGS, labels.T, strict=True)),
    }
    folder = tmp_path_factory.mktemp("data") / "store"
    catalog = Catalog(
        "tiny", Path("/nowhere"), FINDINGS, film_table(pd.DataFrame(rows), FINDINGS), 600
    )
    made = write_store(
        folder, catalog, rng.integers(0, 256, (600, 8, 8)).astype(np.uint8), Preparation(8)
    )
    patient_split(made.catalog, made.findings, 0, test=0.5, val=0.1).save(folder)
    return folder


def cell(model: str, seed: int = 0, fraction: float = 1.0, **more: Any) -> StudyCell:
    policy = more.get("policy", "ignore")
    name = f"{model}-{fraction:g}-{policy}-{seed}".replace(" ", "-")
    usual: dict[str, Any] = {
        "backbone": "test_resnet",
        "policy": policy,
        "lr": 1e-3,
        "chosen": True,
        "state": "done",
    }
    return StudyCell(
        **{
            **usual,
            "id": name + more.get("group", ""),
            "kind": "finetune",
            "model": model,
            "fraction": fraction,
            "seed": seed,
            "run": f"runs/{name}",
            **more,
        }
    )


def write(folder: Path, store: Path, cells: list[StudyCell], **evaluation: Any) -> StudyRecord:
    how = {"min_positives": LEAST, "resamples": RESAMPLES, "seed": 3, **evaluation}
    record = StudyRecord(
        folder=folder,
        hilum="1",
        versions={},
        machine={},
        reference="from scratch",
        finished=True,
        stores=(StudyStore(store, "tiny", "abc"),),
        plan={
            "evaluation": how,
            "finetune": {"labels": {"unstated": "absent"}},
            "policies": {"compare": ["ignore", "zeros", "ones"]},
        },
        cells=tuple(cells),
    )
    write_study(record)
    return record


class Cohort:
    """The store's test films by the catalogue alone, and scores of cells that know a little of the truth."""

    def __init__(self, store: Path) -> None:
        films = Films.open([store])
        self.rows = Subsets.of(films).rows("test")
        labels = films.labels[self.rows]
        self.table = films.catalog.iloc[self.rows].reset_index(drop=True)
        self.truth, self.mask = (labels == 1).astype(float), labels != -1
        self.who = np.unique(films.patient_codes[self.rows], return_inverse=True)[
            1
        ]  # from 0 without gaps
        self.studies = films.study_codes[self.rows]

    def scores(self, cell: StudyCell) -> np.ndarray:
        known = {"from scratch": 0.5, "MoCo": 1.0, "SimCLR": 0.6}[cell.model] + 0.2 * (
            cell.policy == "ones"
        )
        rng = np.random.default_rng([cell.seed, len(cell.model), int(100 * known)])
        shared = np.random.default_rng(9).normal(size=self.truth.shape)
        return 1 / (
            1 + np.exp(-(known * self.truth + shared + 0.5 * rng.normal(size=self.truth.shape)))
        )

    def save(self, record: StudyRecord, without: Mapping[str, str] | None = None) -> None:
        for one in record.chosen():
            scores = pd.DataFrame(self.scores(one), columns=list(FINDINGS))
            scores = scores.drop(
                columns=[(without or {})[one.id]] if one.id in (without or {}) else []
            )
            record.path(one).mkdir(parents=True, exist_ok=True)
            table = pd.concat([self.table[["source", "path", "patient"]], scores], axis=1)
            write_predictions(record.path(one) / "predictions-test.parquet", table, {})

    def mean(self, cells: list[StudyCell], place: int, measure: Any = roc_auc_score) -> float:
        kept = self.mask[:, place]
        return float(
            np.mean(
                [measure(self.truth[kept, place], self.scores(one)[kept, place]) for one in cells]
            )
        )


MAIN = [
    *(cell("from scratch", seed) for seed in range(2)),
    *(cell("MoCo", seed) for seed in range(2)),
    cell("SimCLR"),
    cell("from scratch", fraction=0.1),
    cell("MoCo", fraction=0.1),
]


@pytest.fixture(scope="module")
def cohort(store: Path) -> Cohort:
    return Cohort(store)


@pytest.fixture(scope="module")
def analysed(
    store: Path, cohort: Cohort, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("study")
    cohort.save(write(folder, store, MAIN))
    found = analyse(folder)
    written, hashed = read_hashed_json(folder / "analysis.json")
    assert hashed
    assert written == found
    return found


def row_of(found: dict[str, Any], model: str, fraction: float = 1.0) -> dict[str, Any]:
    (row,) = [
        row for row in found["models"] if (row["model"], row["fraction"]) == (model, fraction)
    ]
    return dict(row)


def test_it_says_what_the_models_were_judged_on(analysed: dict[str, Any], cohort: Cohort) -> None:
    assert analysed["test"] == {
        "films": len(cohort.rows),
        "patients": len(np.unique(cohort.who)),
        "findings_scored": list(COMPETITION),  # Hernia is too rare
        "min_positives": LEAST,
        "resamples": RESAMPLES,
        "level": 0.95,
    }


def test_a_models_numbers_are_means_over_seeds_by_scikit_learn(
    analysed: dict[str, Any], cohort: Cohort
) -> None:
    row, cells = row_of(analysed, "MoCo"), MAIN[2:4]
    assert row["cells"] == [one.id for one in cells]
    assert row["auroc"]["Hernia"]["reason"] == "no positives in this split"
    for place, name in enumerate(COMPETITION):
        assert row["auroc"][name]["value"] == pytest.approx(cohort.mean(cells, place), abs=1e-12)
        precision = cohort.mean(cells, place, average_precision_score)
        assert row["average_precision"][name]["value"] == pytest.approx(precision, abs=1e-12)
    assert row["auroc_macro"]["value"] == pytest.approx(
        np.mean([cohort.mean(cells, f) for f in range(5)]), abs=1e-12
    )
    for one, said in zip(cells, row["seeds"], strict=True):
        assert said["seed"] == one.seed
        assert said["auroc_macro"] == pytest.approx(
            np.mean([cohort.mean([one], f) for f in range(5)]), abs=1e-12
        )


def test_intervals_are_those_of_a_loop_over_resampled_patients(
    analysed: dict[str, Any], cohort: Cohort
) -> None:
    cells, samples = MAIN[2:4], []
    for counts in bootstrap_counts(cohort.who.max() + 1, RESAMPLES, 3):
        films = np.repeat(np.arange(len(cohort.who)), counts[cohort.who])
        samples.append([_resampled(cohort, cells, films, place) for place in range(5)])
    shares = np.var(samples, axis=0) / np.var(samples, axis=0).sum()
    degrees = (
        1
        / sum(share / (_people(cohort, place) - 1) ** 0.5 for place, share in enumerate(shares))
        ** 2
    )
    macro = row_of(analysed, "MoCo")["auroc_macro"]
    expected = proportion_interval(
        macro["value"], np.mean(samples, axis=1).std(ddof=1), int(degrees) + 1
    )
    assert macro["interval"] == pytest.approx(list(expected), abs=1e-12)


def _people(cohort: Cohort, place: int) -> int:
    """Patients of the smaller class."""
    kept, truth = cohort.mask[:, place], cohort.truth[:, place]
    return min(len(set(cohort.who[kept & (truth == kind)])) for kind in (0, 1))


def _resampled(cohort: Cohort, cells: list[StudyCell], films: np.ndarray, place: int) -> float:
    kept = films[cohort.mask[films, place]]
    return float(
        np.mean(
            [roc_auc_score(cohort.truth[kept, place], cohort.scores(c)[kept, place]) for c in cells]
        )
    )


def test_every_model_is_compared_with_the_reference_at_its_share_of_labels(
    analysed: dict[str, Any],
) -> None:
    pairs = [(one["first"], one["second"], one["fraction"]) for one in analysed["comparisons"]]
    assert pairs == [
        ("MoCo", "from scratch", 1.0),
        ("SimCLR", "from scratch", 1.0),
        ("MoCo", "from scratch", 0.1),
    ]
    for one in analysed["comparisons"]:
        apart = [
            row_of(analysed, one[key], one["fraction"])["auroc_macro"]["value"]
            for key in ("first", "second")
        ]
        assert one["auroc_macro"]["value"] == pytest.approx(apart[0] - apart[1], abs=1e-12)
        low, high = one["auroc_macro"]["interval"]
        assert (low > 0 or high < 0) == (one["auroc_macro"]["p"] < 0.05)
        assert one["auroc_macro"]["shown"] == (one["auroc_macro"]["p_holm"] < 0.05)


def test_holms_families_are_one_a_share_of_labels(analysed: dict[str, Any]) -> None:
    for fraction in (1.0, 0.1):
        family = [one for one in analysed["comparisons"] if one["fraction"] == fraction]
        macro = [one["auroc_macro"] for one in family]
        assert [one["p_holm"] for one in macro] == pytest.approx(holm([one["p"] for one in macro]))
        singles = [
            told for one in family for told in one["auroc"].values() if told["p"] is not None
        ]
        assert [told["p_holm"] for told in singles] == pytest.approx(
            holm([told["p"] for told in singles])
        )
        assert len(singles) == 5 * len(family)
    assert "2 models against from scratch" in analysed["comparisons"][0]["family"]


def test_single_findings_are_by_clustered_delong_over_the_seeds(
    analysed: dict[str, Any], cohort: Cohort
) -> None:
    told = analysed["comparisons"][0]["auroc"]["Edema"]
    place = FINDINGS.index("Edema")
    kept = cohort.mask[:, place]
    models = [
        np.stack([cohort.scores(one)[kept, place] for one in cells])
        for cells in (MAIN[2:4], MAIN[:2])
    ]
    expected = auroc_covariance(cohort.truth[kept, place], models, cohort.who[kept])
    value, error = expected.difference(0, 1)
    assert told["value"] == pytest.approx(value, abs=1e-12)
    assert told["p"] == pytest.approx(difference_p(value, error, expected.patients), abs=1e-12)


def test_studies_and_the_competitions_findings(analysed: dict[str, Any], cohort: Cohort) -> None:
    row, cells = row_of(analysed, "MoCo"), MAIN[2:4]
    assert row["competition"]["findings"] == list(COMPETITION)
    assert row["competition"]["auroc_macro"] == row["auroc_macro"]
    values = []
    for place in range(5):
        by_study = pd.DataFrame(
            {
                "study": cohort.studies,
                "truth": cohort.truth[:, place],
                "mask": cohort.mask[:, place],
            }
        )
        for number, one in enumerate(cells):
            by_study[str(number)] = cohort.scores(one)[:, place]
        read = by_study.groupby("study").max()
        read = read[read["mask"] == 1]  # a study's films share its labels
        values.append(
            np.mean([roc_auc_score(read["truth"], read[str(number)]) for number in range(2)])
        )
    assert row["per_study"]["studies"] == len(np.unique(cohort.studies))
    assert row["per_study"]["auroc_macro"]["value"] == pytest.approx(np.mean(values), abs=1e-12)


def test_a_finding_that_a_seed_never_learnt_is_left_out_of_its_model(
    store: Path, cohort: Cohort, tmp_path: Path
) -> None:
    cells = [*MAIN[:4]]
    cohort.save(write(tmp_path, store, cells), without={cells[3].id: "Edema"})
    found = analyse(tmp_path)
    four = [name for name in COMPETITION if name != "Edema"]
    row = row_of(found, "MoCo")
    assert row["findings_scored"] == found["comparisons"][0]["findings_scored"] == four
    assert row["auroc"]["Edema"] == {
        "value": None,
        "interval": None,
        "left_out": 0,
        "reason": "not called",
    }
    assert row["competition"] is None
    assert row_of(found, "from scratch")["findings_scored"] == list(COMPETITION)
    assert found["comparisons"][0]["auroc"]["Edema"]["reason"] == "not called by both"
    places = [FINDINGS.index(name) for name in four]
    expected = np.mean([cohort.mean(cells[2:], f) - cohort.mean(cells[:2], f) for f in places])
    assert found["comparisons"][0]["auroc_macro"]["value"] == pytest.approx(expected, abs=1e-12)


def test_policies_are_compared_with_the_first(store: Path, cohort: Cohort, tmp_path: Path) -> None:
    policies = [
        cell("MoCo", policy=policy, group="policies") for policy in ("ignore", "zeros", "ones")
    ]
    cohort.save(write(tmp_path, store, [*MAIN[:2], *MAIN[2:4], *policies]))
    found = analyse(tmp_path)
    told = [(one["first"], one["second"], one["group"]) for one in found["comparisons"]]
    assert told == [
        ("MoCo", "from scratch", "main"),
        ("zeros", "ignore", "policies"),
        ("ones", "ignore", "policies"),
    ]
    assert found["comparisons"][1]["auroc_macro"]["value"] == 0.0  # the same scores
    assert not found["comparisons"][1]["auroc_macro"]["shown"]
    assert found["comparisons"][2]["auroc_macro"]["value"] > 0
    assert [row["policy"] for row in found["models"] if row["group"] == "policies"] == [
        "ignore",
        "zeros",
        "ones",
    ]


def test_without_the_plans_first_policy_none_is_compared(
    store: Path, cohort: Cohort, tmp_path: Path
) -> None:
    heard = Heard()
    policies = [
        cell("MoCo", policy=policy, group="policies") for policy in ("ignore", "zeros", "ones")
    ]
    failed = replace(policies[0], state="failed", error="no such file")
    cohort.save(write(tmp_path, store, [failed, *policies[1:]]))
    assert analyse(tmp_path, heard)["comparisons"] == []
    assert heard.notes == [
        "ignore gave no numbers with 100% of the labels: nothing is compared there"
    ]


def test_failed_runs_are_left_out_and_without_the_reference_nothing_is_compared(
    store: Path, cohort: Cohort, tmp_path: Path
) -> None:
    failed = [
        replace(one, state="failed", error="no such file") for one in (MAIN[0], MAIN[1], MAIN[3])
    ]
    cohort.save(write(tmp_path, store, [*failed, MAIN[2]]))
    found = analyse(tmp_path)
    assert [(row["model"], len(row["seeds"]), row["seeds_planned"]) for row in found["models"]] == [
        ("MoCo", 1, 2)
    ]
    assert found["comparisons"] == []


def test_without_a_finding_of_enough_positives_the_reason_is_said(
    store: Path, cohort: Cohort, tmp_path: Path
) -> None:
    cohort.save(write(tmp_path, store, MAIN[:3], min_positives=1000))
    found = analyse(tmp_path)
    row = row_of(found, "MoCo")
    assert (
        row["auroc_macro"]["reason"]
        == "no finding has 1,000 positive patients and a negative one: lower --min-positives"
    )
    assert row["per_study"]["auroc_macro"]["value"] is None
    assert row["seeds"] == [{"seed": 0, "auroc_macro": None}]
    assert found["comparisons"][0]["auroc_macro"]["shown"] is False
    json.dumps(found, allow_nan=False)


def test_a_study_without_a_finished_run_has_no_models(store: Path, tmp_path: Path) -> None:
    write(tmp_path, store, [])
    assert analyse(tmp_path)["models"] == []


def test_what_is_missing_is_one_line(store: Path, cohort: Cohort, tmp_path: Path) -> None:
    record = write(tmp_path, store, MAIN[:1])
    with pytest.raises(RunError, match="run `hilum evaluate"):
        analyse(tmp_path)
    cohort.save(record)
    write(tmp_path, tmp_path / "gone", MAIN[:1])
    with pytest.raises(DataError):
        analyse(tmp_path)
    with pytest.raises(RunError, match="holds no study"):
        analyse(tmp_path / "nowhere")


CURVE = [
    cell(model, seed, fraction, validation_auroc=validation)
    for model, validation in (("from scratch", 0.7), ("SimCLR", 0.8), ("MoCo", 0.75))
    for fraction in (0.1, 0.5, 1.0)
    for seed in range(2)
]


def trained(record: StudyRecord, store: Path) -> None:
    """Write of each run how many patients it was trained on."""
    subsets = Subsets.of(Films.open([store]))
    for one in record.chosen():
        codes = Films.open([store]).patient_codes[subsets.needed("train", one.fraction)]
        training = {"films": len(codes), "patients": len(np.unique(codes))}
        write_hashed_json(record.path(one) / "metrics.json", {"training": training})


@pytest.fixture(scope="module")
def curves(store: Path, cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    record = write(tmp_path_factory.mktemp("curves"), store, CURVE)
    cohort.save(record)
    trained(record, store)
    return {row["model"]: row for row in analyse(record.folder)["label_curves"]}


def test_label_curves_have_the_numbers_of_the_models(
    curves: dict[str, Any], cohort: Cohort, store: Path
) -> None:
    assert list(curves) == ["from scratch", "SimCLR", "MoCo"]
    assert [row["chosen"] for row in curves.values()] == [False, True, False]  # by validation
    moco, scratch = curves["MoCo"], curves["from scratch"]
    assert moco["fractions"] == [0.1, 0.5, 1.0]
    assert moco["draws"] == [2, 2, 2]
    assert moco["findings_scored"] == list(COMPETITION)
    assert sorted(moco["patients"]) == moco["patients"]
    means = {
        model: [
            np.mean(
                [
                    cohort.mean([one], place)
                    for one in CURVE
                    if (one.model, one.fraction) == (model, fraction)
                    for place in range(5)
                ]
            )
            for fraction in (0.1, 0.5, 1.0)
        ]
        for model in ("MoCo", "from scratch")
    }
    assert [at["value"] for at in moco["at"]] == pytest.approx(means["MoCo"], abs=1e-12)
    gaps = np.subtract(means["MoCo"], means["from scratch"])
    assert [gap["value"] for gap in moco["gaps"]] == pytest.approx(gaps, abs=1e-12)
    assert [step["value"] for step in scratch["steps"]] == pytest.approx(
        np.diff(means["from scratch"]), abs=1e-12
    )
    assert scratch["gaps"] == []
    assert set(moco["findings"]) == set(COMPETITION)
    assert moco["doubling"]["interval"] is not None


def test_without_the_patients_of_a_run_there_is_no_curve(analysed: dict[str, Any]) -> None:
    assert analysed["label_curves"] == []


def test_a_longer_pretraining_is_compared_with_a_shorter_one(
    store: Path, cohort: Cohort, tmp_path: Path
) -> None:
    usual = {"fraction": None, "chosen": False, "policy": None, "group": "main"}
    pretrainings = [
        replace(
            cell(model),
            **{**usual, "id": f"{model}-p", "kind": "pretrain", "run": f"runs/{model}-p"},
        )
        for model in ("MoCo", "SimCLR")
    ]
    record = write(tmp_path, store, [*pretrainings, *CURVE])
    cohort.save(record)
    trained(record, store)
    for one, steps in zip(pretrainings, (300, 100), strict=True):
        block = {"backbone": "resnet10t", "train": {"batch_size": 32}}
        record.path(one).mkdir(parents=True)
        write_options(record.path(one), {"pretrain": {"moco": block}})
        write_hashed_json(
            record.path(one) / "metrics.json", {"training": {"films": 400, "steps": steps}}
        )
    (row,) = analyse(tmp_path)["pretraining_lengths"]
    assert (row["first"], row["second"]) == ("MoCo", "SimCLR")
    assert (row["before"]["seen"], row["after"]["seen"]) == (3200, 9600)
    expected = [
        np.mean(
            [
                cohort.mean([one], place)
                for place in range(5)
                for one in CURVE
                if one.model == model and one.fraction == 0.5
            ]
        )
        for model in ("MoCo", "SimCLR")
    ]
    assert row["gaps"][1]["value"] == pytest.approx(expected[0] - expected[1], abs=1e-12)
