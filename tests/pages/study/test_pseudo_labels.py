"""Self-trained models on a study's page: what their files say, and nothing that they do not."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hilum.errors import RunError
from hilum.metrics.intervals import Interval
from hilum.metrics.results import Estimate
from hilum.pages.charts.dots import Measured
from hilum.pages.charts.pseudo_labels import (
    Right,
    ScoreCurve,
    Step,
    labels_added,
    rightness,
    scores_by_round,
)
from hilum.pages.pages import study_page, write_report
from hilum.pages.study.read import read_study_folder
from hilum.workflows.pseudo_label.record import (
    Agreement,
    FindingRound,
    Round,
    Rounds,
    Sides,
    Target,
    read_rounds,
    write_rounds,
)
from hilum.workflows.study.record import StudyCell, read_study, write_study

EVIL = "<script>alert(1)</script>"
SELF_TRAINED = "MoCo, more"


def finding(
    present: int, right: float | None, upper: float = 1.0, reason: str | None = None
) -> FindingRound:
    real = (
        None if right is None else Estimate(right, Interval(right - 0.1, min(right + 0.1, upper)))
    )
    shown = Estimate(0.93, Interval(0.88, 0.97))
    return FindingRound(
        present=present, absent=40, abstained=7, cut=Sides(0.8 if present else None, 0.1), reason=reason,
        wanted=Sides(0.9, 0.95), validation_precision=Sides(shown, shown), real_precision=Sides(real, shown),
        truth_films=present + 40,
    )  # fmt: skip


def rounds_of(
    start: Path, findings: dict[str, FindingRound], scores: tuple[float, ...], truth: bool = True
) -> Rounds:
    agreed = Agreement(60, Estimate(0.98, Interval(0.97, 0.99)), 0.9, 0.8, 0.95)
    best, rounds = 0.7, []
    for number, score in enumerate(scores, start=1):
        mean = Sides(0.87 if truth else None, 0.95 if truth else None)
        rounds.append(
            Round(
                number,
                f"rounds/round-{number}",
                score,
                score > best,
                60,
                30,
                findings,
                mean,
                agreed,
            )
        )
        best = max(best, score)
    return Rounds(
        str(start),
        0.7,
        Target(0.9, 0.95, 0.9),
        "held back labels" if truth else None,
        tuple(rounds),
    )


@pytest.fixture
def self_train(write_study_of: Callable[..., Path]) -> Callable[..., Path]:
    """Give a study whose second seed of 10 % was self-trained too, with these findings and scores of its rounds."""

    def make(
        findings: dict[str, FindingRound],
        scores: tuple[float, ...] = (0.72, 0.71),
        truth: bool = True,
        **shape: Any,
    ) -> Path:
        folder = write_study_of(**shape)
        record = read_study(folder)
        like = next(
            cell
            for cell in record.chosen(group="main")
            if cell.fraction == 0.1 and cell.model == "MoCo"
        )
        start = record.path(like)
        cell = replace(
            like,
            id="self-trained-0",
            kind="pseudo-label",
            model=SELF_TRAINED,
            start="MoCo",
            run="runs/self-trained-0",
        )
        shutil.copytree(start, record.path(cell))
        write_rounds(record.path(cell), rounds_of(start, findings, scores, truth))
        write_study(replace(record, cells=(*record.cells, cell)))
        analyse(folder, cell)
        return folder

    return make


def analyse(folder: Path, cell: StudyCell) -> None:
    """Add a self-trained model to the numbers across runs: its row is that of its start, moved a little."""
    told = json.loads((folder / "analysis.json").read_text())
    of_start = ("MoCo", 0.1, "main")
    row = next(
        row for row in told["models"] if (row["model"], row["fraction"], row["group"]) == of_start
    )
    told["models"].append(
        {**row, "model": cell.model, "cells": [cell.id], "seeds": row["seeds"][:1]}
    )
    compared = next(
        one for one in told["comparisons"] if (one["fraction"], one["group"]) == (0.1, "main")
    )
    change = {
        "value": 0.021,
        "interval": [0.004, 0.038],
        "reason": None,
        "p": 0.01,
        "p_holm": 0.01,
        "shown": True,
    }
    self_trained = {
        "group": "grown",
        "first": cell.model,
        "second": "MoCo",
        "model": cell.model,
        "auroc_macro": change,
    }
    told["comparisons"] += [
        {**compared, "first": cell.model, "model": cell.model},
        {**compared, **self_trained},
    ]
    (folder / "analysis.json").write_text(json.dumps(told))


MIXED = {
    "Edema": finding(30, 0.88),
    "Cardiomegaly": finding(20, 0.6, upper=0.7),
    "Fracture": finding(0, None, reason="present: too few positive patients"),
}


def test_the_section_says_what_the_rounds_did(self_train, plain, parsed):
    folder = self_train(MIXED)
    text = study_page(read_study_folder(folder))
    words = plain(text)
    assert parsed(text).open == []
    assert "self-training" in parsed(text).ids
    assert (
        f"{SELF_TRAINED} with 10% of the labels: kept by validation films is round 1 of 2." in words
    )
    assert "On test films +0.021, +0.004 to +0.038 against MoCo: better than MoCo." in words
    assert (
        "at least 90% of the films called present have the finding, and 95% of those called absent"
        in words
    )
    assert "agreement, not truth" in words
    section = text[text.index('id="self-training"') :]
    assert section.count(' hollow"') == 1


def test_the_limits_name_what_was_less_right_than_wanted_and_what_got_none(self_train, plain):
    words = plain(study_page(read_study_folder(self_train(MIXED))))
    assert (
        "With Cardiomegaly (present) pseudo-labels were less often right than the target" in words
    )
    assert "No round called Fracture present" in words
    assert (
        "87.0% of those called present (target 90%) and 95.0% of those called absent (target 95%, of rare"
        in words
    )


def test_where_every_film_is_labelled_no_target_is_named(self_train, plain):
    everything = {
        name: replace(one, wanted=Sides(None, None), reason=None) for name, one in MIXED.items()
    }
    folder = self_train(everything)
    run = folder / "runs/self-trained-0"
    write_rounds(run, replace(read_rounds(run), wanted=None))
    assert read_rounds(run).wanted is None
    words = plain(study_page(read_study_folder(folder)))
    assert "Every film is labelled, at a probability of 0.5, however precise that is." in words
    assert "87.0% of those called present and 95.0% of those called absent were right" in words
    assert "Validation films decide twice." in words
    start = words.index("Self-training with pseudo-labels")
    section = words[start : words.index("Every round of every run")]
    assert "target" not in section
    assert "wanted" not in section
    assert "Less right than" not in words


def test_rounds_that_labelled_nothing_are_not_called_wrong(self_train, plain):
    none = replace(finding(0, None, reason="too few"), absent=0)
    folder = self_train({"Edema": none})
    run = folder / "runs/self-trained-0"
    told = read_rounds(run)
    empty = replace(
        told.rounds[0],
        validation_auroc=None,
        kept=False,
        real_precision_mean=Sides(None, None),
        films=0,
    )
    write_rounds(run, replace(told, rounds=(replace(empty, on_pseudo_labels=None),)))
    words = plain(study_page(read_study_folder(folder)))
    assert "No film whose label was held back got one" in words
    assert "No finding was labelled absent in round 1" in words
    assert "not trained" in words


def test_without_a_kept_round_the_model_is_called_what_it_is(self_train, plain):
    words = plain(study_page(read_study_folder(self_train(MIXED, scores=(0.69, 0.66)))))
    assert (
        "no round was better on validation films, so the model is still the initial one." in words
    )
    assert "On test films +0.021" not in words
    assert f"{SELF_TRAINED} no round was kept" in words


def test_where_the_truth_is_not_known_none_is_claimed(self_train, plain):
    findings = {
        name: replace(one, real_precision=Sides(None, None), truth_films=0)
        for name, one in MIXED.items()
    }
    words = plain(study_page(read_study_folder(self_train(findings, truth=False))))
    assert "How many of them are right is not known here." in words
    assert "by the labels held back" not in words


def test_rounds_that_labelled_nothing_present_have_no_empty_chart(self_train, plain):
    words = plain(study_page(read_study_folder(self_train({"Edema": finding(0, None)}))))
    assert "No finding was labelled present in round 1" in words
    assert "No finding was labelled absent" not in words


def test_tables_have_the_numbers_in_full_and_the_store_s_order(self_train):
    folder = self_train(MIXED)
    write_report(folder)
    read = {path.stem: pd.read_csv(path) for path in (folder / "tables").glob("pseudo-label*.csv")}
    assert set(read) == {
        "pseudo-labels", "pseudo-label-rounds", "pseudo-labels-by-finding", "pseudo-labels-test",
        "pseudo-labels-agreement",
    }  # fmt: skip
    assert read["pseudo-label-rounds"]["validation_auroc"].tolist() == [0.7, 0.72, 0.71]
    found = read["pseudo-labels-by-finding"]
    assert found["finding"].tolist() == ["Cardiomegaly", "Edema", "Fracture"] * 2
    assert found["present_right"].tolist()[:2] == [0.6, 0.88]
    assert read["pseudo-labels"]["difference"].tolist() == [0.021]
    assert read["pseudo-labels-agreement"]["precision_macro"].tolist() == [0.9, 0.9]


def test_the_card_of_a_self_trained_model_says_what_it_learnt_from(self_train, plain):
    folder = self_train(MIXED, fractions=(0.1,))
    record = read_study(folder)
    cells = [
        replace(cell, validation_auroc=0.99 if cell.model == SELF_TRAINED else 0.5)
        for cell in record.cells
    ]
    write_study(replace(record, cells=tuple(cells)))
    words = plain(study_page(read_study_folder(folder)))
    assert (
        "round 1 of 2, with pseudo-labels on 60 films; right were 87% of those called present and 95% of"
        in words
    )


def test_a_study_without_self_training_has_no_such_section(study_folder, plain):
    text = study_page(read_study_folder(study_folder))
    assert 'id="self-training"' not in text
    assert "pseudo-labels" not in plain(text).casefold()


def test_markup_in_findings_and_reasons_stays_inert(self_train, write_films, parsed):
    store = write_films(
        findings=(EVIL, "Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
    )
    text = study_page(
        read_study_folder(self_train({EVIL: finding(3, 0.9, reason=EVIL)}, store=store))
    )
    assert parsed(text).tags.count("script") == 1


def test_damaged_rounds_are_one_line(self_train):
    folder = self_train(MIXED)
    (folder / "runs/self-trained-0/rounds.json").write_text("{")
    with pytest.raises(RunError, match=r"rounds.json is damaged"):
        read_study_folder(folder)


def test_a_score_that_rises_is_drawn_higher_and_rounds_not_kept_are_hollow():
    steps = [Step(0, 0.70, True), Step(1, 0.74, True), Step(2, 0.72, False)]
    drawn = scores_by_round([ScoreCurve("MoCo", 0, steps)], "AUROC")
    heights = [
        float(y)
        for y in re.findall(r'<circle class="mark c0[^"]*" cx="[\d.]+" cy="([\d.]+)"', drawn)
    ]
    assert heights[1] < heights[2] < heights[0]
    assert drawn.count("hollow") == 1
    assert "not available" in scores_by_round([], "AUROC")


def test_bars_are_as_long_as_the_labels_are_many():
    drawn = labels_added([("round 1", 30, 60)])
    present, absent = (float(width) for width in re.findall(r'width="([\d.]+)"', drawn))
    assert absent == pytest.approx(2 * present, abs=0.2)


def test_labels_that_are_less_right_than_wanted_stand_left_of_the_line():
    rows = [
        Right("Edema", 9, Measured(0.8, 0.7, 0.85), Measured(0.95), 0.9),
        Right("Mass", 0, Measured(None), Measured(None), 0.9),
    ]
    drawn = rightness(rows, "right")
    line = float(re.search(r'<line class="target" x1="([\d.]+)"', drawn).group(1))
    real = float(re.search(r'<circle class="mark c0" cx="([\d.]+)"', drawn).group(1))
    assert real < line
    assert drawn.count("adds none") == 1


def test_a_model_of_no_kept_round_is_compared_with_nothing(self_train):
    folder = self_train(MIXED, scores=(0.69,))
    write_report(folder)
    row = pd.read_csv(folder / "tables/pseudo-labels.csv").iloc[0]
    assert (row["kept"], row["verdict"]) == ("none of 1", "the same model")
    assert pd.isna(row["difference"])
