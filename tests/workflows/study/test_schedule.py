"""What a study does next, from its cells alone: nothing is trained here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from study_plans import MODELS, TWO_RATES, tiny_plan

from hilum.workflows.study.cells import cells_of
from hilum.workflows.study.plan import StudyPlan
from hilum.workflows.study.record import StudyCell
from hilum.workflows.study.schedule import begun_again, ended, ready, seconds_left, settled

Cells = tuple[StudyCell, ...]


@pytest.fixture
def plan(tmp_path: Path) -> StudyPlan:
    return tiny_plan(tmp_path / "store", tmp_path / "study", **TWO_RATES)


@pytest.fixture
def cells(plan: StudyPlan) -> Cells:
    return cells_of(plan)


def done(cells: Cells, run: str, score: float | None = None) -> Cells:
    return settled(ended(cells, f"runs/{run}", state="done", seconds=10.0, validation_auroc=score))


def names(cells: Cells) -> list[str]:
    return [cell.id for cell in cells]


TRIALS = ["from-scratch-50-ignore-seed-0-lr-0.001", "from-scratch-50-ignore-seed-0-lr-0.003"]
LATER = "from-scratch-50-ignore-seed-1"


def test_a_model_waits_for_its_pretraining_and_others_do_not(cells: Cells) -> None:
    assert names(ready(cells)) == ["moco-pretrain", *TRIALS]
    trained = done(cells, "moco-pretrain")
    assert "moco-50-ignore-seed-0-lr-0.001" in names(ready(trained))


def test_the_best_trial_waits_again_and_gives_its_rate_to_later_seeds(cells: Cells) -> None:
    cells = done(done(cells, TRIALS[0], 0.6), TRIALS[1], 0.7)
    best, later = (next(cell for cell in cells if cell.id == name) for name in (TRIALS[1], LATER))
    assert (best.chosen, best.state) == (True, "waiting")
    assert (later.chosen, later.lr) == (True, 0.003)
    assert later.run == "runs/from-scratch-50-ignore-seed-1-lr-0.003"
    assert names(ready(cells))[1:] == [best.id, later.id]
    assert next(cell for cell in begun_again(cells) if cell.id == best.id).seconds == 10.0


def test_a_name_that_speaks_of_rates_keeps_the_runs_of_its_shares_apart(tmp_path: Path) -> None:
    models = {"MoCo, lr 1e-3": MODELS["from scratch"]}
    options = {**TWO_RATES, "models": models, "pretrain": {}, "fractions": (0.5, 1.0)}
    cells = cells_of(tiny_plan(tmp_path / "store", tmp_path / "study", **options))
    for trial in [cell.run for cell in cells if cell.seed == 0]:
        cells = done(cells, trial.removeprefix("runs/"), 0.7)
    assert len({cell.run for cell in cells}) == len(cells)


def test_equal_trials_and_those_without_a_score_leave_the_first(cells: Cells) -> None:
    for score in (0.6, None):
        ended_both = done(done(cells, TRIALS[0], score), TRIALS[1], score)
        assert [cell.lr for cell in ended_both if cell.chosen] == [0.001, 0.001]


def test_a_failed_trial_leaves_the_choice_to_the_others(cells: Cells) -> None:
    cells = ended(cells, f"runs/{TRIALS[0]}", state="failed", error="no")
    cells = done(cells, TRIALS[1], 0.5)
    assert {cell.lr for cell in cells if cell.chosen} == {0.003}


def test_later_seeds_fail_where_no_rate_worked(cells: Cells) -> None:
    for trial in TRIALS:
        cells = settled(ended(cells, f"runs/{trial}", state="failed", error="no"))
    lost = [cell for cell in cells if cell.state == "failed"]
    assert [cell.error for cell in lost] == [
        "no",
        "no",
        "no learning rate of its first seed worked",
    ]
    again = settled(begun_again(cells))
    assert names(ready(again)) == names(ready(cells_with_all_waiting(cells)))


def cells_with_all_waiting(cells: Cells) -> Cells:
    return tuple(replace(cell, state="waiting", error=None) for cell in cells)


@pytest.fixture
def retried(cells: Cells) -> Cells:
    """The first trial had failed and is tried again; the second was chosen and measured."""
    cells = settled(ended(cells, f"runs/{TRIALS[0]}", state="failed", error="no"))
    return begun_again(done(done(cells, TRIALS[1], 0.5), TRIALS[1], 0.5))


def test_a_better_retried_trial_is_chosen_while_no_later_seed_has_begun(retried: Cells) -> None:
    cells = done(retried, TRIALS[0], 0.9)
    known = {cell.id: cell for cell in cells}
    assert [known[name].chosen for name in TRIALS] == [True, False]
    assert [known[name].state for name in TRIALS] == ["waiting", "done"]
    assert (known[LATER].lr, known[LATER].run) == (0.001, f"runs/{LATER}-lr-0.001")
    worse = {cell.id: cell for cell in done(retried, TRIALS[0], 0.4)}
    assert [worse[name].chosen for name in TRIALS] == [False, True]
    assert worse[LATER].lr == 0.003


def test_a_retried_trial_changes_no_choice_that_a_later_seed_was_trained_by(retried: Cells) -> None:
    cells = done(done(retried, f"{LATER}-lr-0.003", 0.5), TRIALS[0], 0.9)
    assert {cell.lr for cell in cells if cell.chosen} == {0.003}


def test_a_chosen_trial_whose_measuring_failed_stays_chosen(cells: Cells) -> None:
    cells = done(done(cells, TRIALS[0], 0.6), TRIALS[1], 0.7)
    cells = settled(
        ended(cells, f"runs/{TRIALS[1]}", state="failed", error="no", validation_auroc=None)
    )
    assert {cell.lr for cell in cells if cell.chosen} == {0.003}


def test_what_starts_from_a_failed_pretraining_is_lost(cells: Cells) -> None:
    cells = settled(ended(cells, "runs/moco-pretrain", state="failed", error="no"))
    assert {cell.state for cell in cells if cell.model == "MoCo"} == {"failed"}
    assert names(ready(cells)) == TRIALS


def test_a_run_at_work_is_not_started_twice(cells: Cells) -> None:
    running = ended(cells, f"runs/{TRIALS[0]}", state="running")
    assert TRIALS[0] not in names(ready(running))


def test_time_left_is_known_once_something_has_ended(cells: Cells, plan: StudyPlan) -> None:
    assert seconds_left(cells, plan, 1) is None
    cells = done(cells, "moco-pretrain")
    assert seconds_left(cells, plan, 1) is None  # nothing is known of a fine-tuning yet
    cells = done(cells, TRIALS[0], 0.5)
    left = [cell for cell in cells if cell.state == "waiting"]
    assert seconds_left(cells, plan, 1) == pytest.approx(10.0 * len(left))
    assert seconds_left(cells, plan, 2) == pytest.approx(5.0 * len(left))
    assert set(MODELS) == {cell.model for cell in left}
