"""Models of a study that are grown by pseudo-labels: planned, begun with what was chosen, run, measured, compared."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from study_plans import SCRATCH, TWO_RATES, UNSET, tiny_plan, weights

from hilum.errors import OptionError
from hilum.labels import LabelOptions
from hilum.listener import Listener
from hilum.training.interrupt import Interrupted
from hilum.workflows.pseudo_label.options import PseudoLabelOptions, RoundTrainOptions
from hilum.workflows.pseudo_label.record import read_rounds
from hilum.workflows.study.cells import cells_of, self_training_options
from hilum.workflows.study.plan import PolicyComparison, StudyModel, StudyPlan
from hilum.workflows.study.plan_file import study_block
from hilum.workflows.study.record import StudyCell, read_study
from hilum.workflows.study.schedule import begun_again, ended, ready, seconds_left, settled
from hilum.workflows.study.study import StudyResult, study
from hilum.workflows.train.options import FinetuneOptions

Cells = tuple[StudyCell, ...]
SELF_TRAINED = {**SCRATCH, "more": StudyModel(self_train="from scratch")}
EASY = PseudoLabelOptions(
    precision=0.5, absent_precision=0.5, level=0.5, rounds=1, device="cpu", **UNSET
)
"""Wanted so little that models of one pass label films."""


def planned(**more: Any) -> StudyPlan:
    return tiny_plan(
        Path("store"),
        Path("study"),
        **{"models": SELF_TRAINED, "pretrain": {}, "pseudo_label": EASY, **more},
    )


def names(cells: Cells) -> list[str]:
    return [cell.id for cell in cells]


def one(cells: Cells, name: str) -> StudyCell:
    return next(cell for cell in cells if cell.id == name)


def done(cells: Cells, run: str, score: float | None = None) -> Cells:
    return settled(ended(cells, f"runs/{run}", state="done", seconds=10.0, validation_auroc=score))


TRIALS = ["from-scratch-50-ignore-seed-0-lr-0.001", "from-scratch-50-ignore-seed-0-lr-0.003"]
LATER, MORE = "from-scratch-50-ignore-seed-1", "more-50-ignore-seed-0"


def test_a_grown_model_has_the_seeds_and_shares_of_its_start_that_leave_films_to_label() -> None:
    plan = planned(fractions=(0.1, 0.5, 1.0), seeds=2)
    self_trained = [cell for cell in cells_of(plan) if cell.kind == "pseudo-label"]
    assert [(cell.fraction, cell.seed, cell.start) for cell in self_trained] == [
        (share, seed, "from scratch") for share in (0.1, 0.5) for seed in (0, 1)
    ]
    assert {(cell.lr, cell.chosen, cell.backbone) for cell in self_trained} == {
        (5e-4, True, "test_resnet")
    }
    further = planned(fractions=(0.1, 1.0), data=(Path("store"), Path("other")))
    assert further.fractions_of("more") == (0.1, 1.0)


def test_it_begins_with_the_fine_tuning_of_its_seed_once_that_is_measured() -> None:
    cells = cells_of(planned(seeds=2))
    assert names(ready(cells)) == ["from-scratch-50-ignore-seed-0", LATER]
    cells = done(cells, LATER, 0.6)
    assert names(ready(cells)) == ["from-scratch-50-ignore-seed-0", "more-50-ignore-seed-1"]


def test_of_several_rates_it_begins_with_the_one_that_was_chosen() -> None:
    cells = settled(cells_of(planned(**TWO_RATES)))
    assert one(cells, MORE).lr is None
    cells = done(done(cells, TRIALS[0], 0.6), TRIALS[1], 0.7)
    assert (one(cells, MORE).lr, one(cells, MORE).run) == (0.003, f"runs/{MORE}-lr-0.003")
    assert MORE not in names(ready(cells))  # its start is to be measured first
    cells = done(cells, TRIALS[1], 0.7)
    assert names(ready(cells)) == [LATER, MORE]


@pytest.fixture
def retried() -> Cells:
    """The first trial had failed and is tried again; the second was chosen and measured."""
    cells = settled(
        ended(cells_of(planned(**TWO_RATES)), f"runs/{TRIALS[0]}", state="failed", error="no")
    )
    return begun_again(done(done(cells, TRIALS[1], 0.5), TRIALS[1], 0.5))


def test_it_follows_a_rate_that_is_chosen_again(retried: Cells) -> None:
    assert one(retried, MORE).lr == 0.003
    cells = done(retried, TRIALS[0], 0.9)
    assert (one(cells, MORE).lr, one(cells, MORE).run) == (0.001, f"runs/{MORE}-lr-0.001")


def test_a_rate_that_it_has_begun_with_stays(retried: Cells) -> None:
    cells = done(done(retried, f"{MORE}-lr-0.003", 0.8), TRIALS[0], 0.9)
    assert {cell.lr for cell in cells if cell.chosen} == {0.003}


def test_it_fails_with_its_start_and_waits_again_with_it() -> None:
    cells = cells_of(planned(**TWO_RATES))
    for trial in TRIALS:
        cells = settled(ended(cells, f"runs/{trial}", state="failed", error="no"))
    assert one(cells, MORE).error == f"its start {TRIALS[0]} failed"
    assert {cell.state for cell in cells} == {"failed"}
    again = settled(begun_again(cells))
    assert names(ready(again)) == TRIALS
    assert one(again, MORE).state == "waiting"


def test_time_left_counts_its_rounds() -> None:
    plan = planned(pseudo_label=replace(EASY, rounds=3, train=RoundTrainOptions(epochs=2)))
    cells = done(cells_of(plan), "from-scratch-50-ignore-seed-0", 0.6)
    assert seconds_left(cells, plan, 1) == pytest.approx(10.0 / 0.5 * 3 * 2)


@pytest.mark.parametrize(
    ("row", "epochs", "rounds"),
    [
        (StudyModel(self_train="from scratch"), 4, 1),
        (StudyModel(self_train="from scratch", epochs=3, rounds=5), 3, 5),
        (StudyModel(self_train="from scratch", epochs={0.5: 2}), 2, 1),
    ],
)
def test_its_own_passes_and_rounds_go_before_those_of_all(
    row: StudyModel, epochs: int, rounds: int
) -> None:
    plan = planned(
        models={**SCRATCH, "more": row},
        pseudo_label=replace(EASY, train=RoundTrainOptions(epochs=4)),
    )
    told = self_training_options(plan, one(cells_of(plan), MORE), Path("study"))
    assert (told.train.epochs, told.rounds, told.out) == (epochs, rounds, Path("study/runs") / MORE)
    assert plan.epochs_of("more", 0.5) == epochs
    usual = planned(models={**SCRATCH, "more": StudyModel(self_train="from scratch")})
    assert self_training_options(usual, one(cells_of(usual), MORE), Path()).train.epochs is None
    assert usual.epochs_of("more", 0.5) == usual.epochs_of("from scratch", 0.5)


def test_a_plan_without_growth_is_written_as_before_there_was_any() -> None:
    block = study_block(planned(models=SCRATCH))
    assert "pseudo_label" not in block
    assert not {"pseudo_labels", "unlabelled", "self_train"} & set(block["finetune"])
    assert study_block(planned())["pseudo_label"]["precision"] == 0.5
    compared = PolicyComparison(
        model="from scratch", fraction=0.5, compare=("ignore", "self-train")
    )
    assert "self_train" in study_block(planned(models=SCRATCH, policies=compared))["finetune"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"models": {**SCRATCH, "more": StudyModel(self_train="scratch")}},
            "unknown model of models.more.self_train 'scratch'",
        ),
        (
            {"models": {**SELF_TRAINED, "most": StudyModel(self_train="more")}},
            "unknown model of models.most.self_train 'more'",
        ),
        (
            {"models": {**SCRATCH, "more": StudyModel(self_train="from scratch", init="random")}},
            "more has init beside self_train",
        ),
        (
            {"models": {**SCRATCH, "more": StudyModel(self_train="from scratch", freeze=True)}},
            "more has freeze beside self_train",
        ),
        (
            {"models": {"more": StudyModel(init="random", rounds=2)}},
            "models.more.rounds is given without models.more",
        ),
        (
            {"models": {**SCRATCH, "more": StudyModel(self_train="from scratch", rounds=0)}},
            "models.more.rounds is 0",
        ),
        (
            {"models": {**SCRATCH, "more": StudyModel(self_train="from scratch", seeds=2)}},
            "allowed are those of from scratch",
        ),
        (
            {
                "models": {
                    **SCRATCH,
                    "more": StudyModel(self_train="from scratch", fractions=(0.1,)),
                }
            },
            "allowed are 0.5, at which",
        ),
        (
            {"fractions": (1.0,)},
            "models.more has nothing to label, as from scratch learns from all labels",
        ),
        (
            {"policies": PolicyComparison(model="more", fraction=0.5)},
            "model of policies.model 'more'",
        ),
        (
            {"finetune": FinetuneOptions(labels=LabelOptions(uncertain="multiclass"), **UNSET)},
            "self-trains a model under the policy multiclass",
        ),
    ],
)
def test_a_model_that_cannot_be_self_trained_is_one_line(more: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        planned(**more)


@pytest.fixture(scope="module")
def finished(
    make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> StudyResult:
    folder = tmp_path_factory.mktemp("growth")
    store = make_store(folder / "store", films=160, seed=3)
    return study(planned_on(store, folder / "study"))


def planned_on(store: Path, out: Path, jobs: int = 1) -> StudyPlan:
    return tiny_plan(
        store, out, models=SELF_TRAINED, pretrain={}, pseudo_label=EASY, jobs=jobs, **TWO_RATES
    )


def test_it_is_run_and_measured_like_any_model(finished: StudyResult) -> None:
    record = read_study(finished.record.folder)
    self_trained = record.chosen(model="more")
    assert not record.failed
    assert len(self_trained) == 2
    for cell in self_trained:
        (start,) = [
            other for other in record.chosen(model="from scratch") if other.seed == cell.seed
        ]
        run, rounds = record.path(cell), read_rounds(record.path(cell))
        assert cell.validation_auroc == rounds.best
        assert rounds.start == str(record.path(start).resolve())
        assert {"val", "test"} == set(json.loads((run / "metrics.json").read_text())["evaluations"])
        assert not list(run.rglob("checkpoints"))


def test_it_is_compared_with_the_reference_and_with_its_start(finished: StudyResult) -> None:
    told = json.loads(finished.record.analysis.read_text())
    pairs = [(row["group"], row["first"], row["second"]) for row in told["comparisons"]]
    assert pairs == [("main", "more", "from scratch"), ("grown", "more", "from scratch")]
    last = told["comparisons"][-1]
    assert last["family"].startswith(
        "the mean AUROC of the model that was self-trained with pseudo-labels against what it began"
    )
    values = {row["model"]: row["auroc_macro"]["value"] for row in told["models"]}
    assert last["auroc_macro"]["value"] == pytest.approx(values["more"] - values["from scratch"])


def test_again_nothing_is_left_to_do(finished: StudyResult) -> None:
    before = weights(finished.record.folder)
    assert study(planned_on(finished.record.stores[0].path, finished.record.folder)).already_done
    assert weights(finished.record.folder) == before


def test_a_record_of_before_there_was_growth_is_read(finished: StudyResult, tmp_path: Path) -> None:
    content = json.loads((finished.record.folder / "study.json").read_text())
    content["cells"] = [cell for cell in content["cells"] if cell["kind"] != "pseudo-label"]
    for cell in content["cells"]:
        del cell["start"]
    del content["sha256"]
    (tmp_path / "study.json").write_text(json.dumps(content))
    assert read_study(tmp_path).models == ("from scratch",)


@pytest.mark.torture
@pytest.mark.parametrize("jobs", [1, 2])
def test_stopped_while_it_is_grown_it_goes_on_to_the_same_end(
    finished: StudyResult, tmp_path: Path, jobs: int
) -> None:
    store, whole = finished.record.stores[0].path, finished.record
    plan = planned_on(store, tmp_path / "study", jobs=jobs)
    with pytest.raises(Interrupted):
        study(plan, Stopping("round 1: labels"))
    again = study(plan).record
    assert [replace(cell, seconds=None) for cell in again.cells] == [
        replace(cell, seconds=None) for cell in whole.cells
    ]
    assert weights(again.folder) == weights(whole.folder)
    for cell in whole.chosen(model="more"):
        first, second = read_rounds(whole.path(cell)), read_rounds(again.path(cell))
        assert replace(first, start="") == replace(second, start="")


class Stopping(Listener):
    """Asks for a stop where a note holds some words, as Ctrl-C would."""

    def __init__(self, words: str) -> None:
        self.words = words

    def note(self, line: str) -> None:
        if self.words in line:
            signal.raise_signal(signal.SIGINT)
