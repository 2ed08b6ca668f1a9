"""Pretraining as a function: what it learns from, what it writes, and what it does the second time."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from heard import Heard

from hilum.bundle.model_folder import load_model
from hilum.bundle.training_manifest import seen_films, were_seen
from hilum.errors import DataError, OptionError, RunError
from hilum.group_key import made_key
from hilum.images.films import Films
from hilum.listener import Listener
from hilum.methods.byol import BYOLOptions
from hilum.methods.moco import MoCoOptions
from hilum.training.interrupt import Interrupted
from hilum.training.options import TrainOptions
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.train.options import PretrainOptions
from hilum.workflows.train.pretrain import TrainingResult, note_without_negatives, pretrain


def run(
    store: Path, out: Path, listener: Listener | None = None, seed: int = 0, **options: Any
) -> TrainingResult:
    train = {
        "epochs": 1,
        "batch_size": 16,
        "accelerator": "cpu",
        "seed": seed,
        **options.pop("train", {}),
    }
    given = {
        "data": (store,),
        "out": out,
        "backbone": "test_resnet",
        "train": TrainOptions(**train),
        **options,
    }
    return pretrain("moco", MoCoOptions(), PretrainOptions(**given), listener or Heard())


@pytest.fixture(scope="module")
def done(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return run(tiny_store, tmp_path_factory.mktemp("pretrain") / "run")


def test_the_same_run_twice_gives_the_same_bytes_whatever_came_before(
    done: TrainingResult, tiny_store: Path, tmp_path: Path
) -> None:
    torch.manual_seed(77)
    run(tiny_store, tmp_path / "again")
    for name in ("model.safetensors", "model.json", "seen.parquet"):
        assert (tmp_path / "again" / "model" / name).read_bytes() == (
            done.run / "model" / name
        ).read_bytes()
    run(tiny_store, tmp_path / "other", seed=1)
    for name in ("model.safetensors",):
        assert (tmp_path / "other" / "model" / name).read_bytes() != (
            done.run / "model" / name
        ).read_bytes()


def test_the_run_folder_holds_what_a_run_is(done: TrainingResult) -> None:
    names = {path.name for path in done.run.iterdir()}
    assert {"options.yaml", "log.jsonl", "metrics.json", "checkpoints", "model"} <= names
    told = json.loads((done.run / "metrics.json").read_text())["training"]
    assert told["steps"] == done.steps == 3
    assert (told["films"], told["patients"]) == (52, 26)
    model = load_model(done.run)
    assert model.head is None
    assert model.description.findings == ()
    assert model.description.method == "moco"
    assert model.description.notice.startswith("Research use only")


def test_test_and_validation_films_stay_out_and_the_films_seen_are_listed(
    done: TrainingResult, tiny_store: Path, tmp_path: Path
) -> None:
    films = Films.open([tiny_store])
    subsets = Subsets.of(films)
    seen = load_model(done.run).seen
    assert np.array_equal(
        np.flatnonzero(
            were_seen(films.catalog, seen, films.preparation.size, made_key(tiny_store))
        ),
        subsets.rows("train"),
    )
    both = run(tiny_store, tmp_path / "both", with_validation=True)
    seen = load_model(both.run).seen
    expected = np.union1d(subsets.rows("train"), subsets.rows("val"))
    assert np.array_equal(
        np.flatnonzero(
            were_seen(films.catalog, seen, films.preparation.size, made_key(tiny_store))
        ),
        expected,
    )
    assert len(seen) == len(seen_films(films.catalog.iloc[expected], made_key(tiny_store)))


def test_the_second_time_it_is_already_done(done: TrainingResult, tiny_store: Path) -> None:
    heard = Heard()
    before = {
        path: path.stat().st_mtime_ns
        for path in done.run.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
    again = run(tiny_store, done.run, heard)
    assert again.already_done
    assert again.steps == done.steps
    assert heard.notes == [f"{done.run} is already done"]
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_other_options_for_the_same_out_are_refused(done: TrainingResult, tiny_store: Path) -> None:
    with pytest.raises(RunError, match=r"pretrain\.moco\.train\.seed: 0 there, 4 now"):
        run(tiny_store, done.run, seed=4)


def test_other_data_for_the_same_out_is_refused(
    done: TrainingResult, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="other options"):
        run(make_store(tmp_path / "store", seed=5), done.run)


def test_pretraining_goes_on_from_a_run_and_remembers_its_films(
    done: TrainingResult, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    store = make_store(tmp_path / "store", films=60, seed=5)
    result = run(store, tmp_path / "next", init=str(done.run), backbone=None)
    seen = set(load_model(result.run).seen["pixels"])
    assert seen > set(load_model(done.run).seen["pixels"])
    assert len(seen) == result.films + done.films


@pytest.mark.parametrize("films", [6, 12])
def test_few_films_shrink_the_batch_with_a_line(
    make_store: Callable[..., Path], tmp_path: Path, films: int
) -> None:
    heard = Heard()
    result = run(make_store(tmp_path / "store", films=films), tmp_path / "run", heard)
    assert result.steps == 1
    assert any(
        f"do not fill a batch of 16: it is {result.films} now" in note for note in heard.notes
    )


def test_too_few_films_are_one_line(make_store: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"too few for a step of 8 x 2 films"):
        run(make_store(tmp_path / "store", films=8), tmp_path / "run", train={"accumulate": 8})


def test_films_of_one_patient_have_no_negatives_where_those_are_masked() -> None:
    heard = Heard()
    for options, patients in (
        (MoCoOptions(mask_same_patient=False), 1),
        (MoCoOptions(), 2),
        (BYOLOptions(), 1),
    ):
        note_without_negatives(options, patients, heard)
    assert heard.notes == []
    note_without_negatives(MoCoOptions(), 1, heard)
    assert "--method.no-mask-same-patient" in heard.notes[0]


def test_an_unknown_method_and_a_missing_store_are_one_line(
    tiny_store: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match="unknown method"):
        pretrain(
            "moko", MoCoOptions(), PretrainOptions(data=(tiny_store,), out=tmp_path / "x"), Heard()
        )
    with pytest.raises(DataError, match="no finished store"):
        run(tmp_path / "nowhere", tmp_path / "x")


def events(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_length_in_crops_counts_every_view(tiny_store: Path, tmp_path: Path) -> None:
    heard = Heard()
    result = run(
        tiny_store, tmp_path / "run", heard, train={"epochs": None, "crops": 130, "batch_size": 13}
    )
    assert result.steps == 5  # of 13 films, 2 crops each; 4 steps are an epoch
    assert (
        "130 crops (augmented views), 2 of each film: 5 steps of 13 films, 1.2 epochs"
        in heard.notes
    )
    rates = [event["lr"] for event in events(result.run) if "lr" in event]
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_a_length_in_crops_is_rounded_up_to_whole_steps(tiny_store: Path, tmp_path: Path) -> None:
    train = {"epochs": None, "crops": 27, "batch_size": 13, "accumulate": 2}
    assert run(tiny_store, tmp_path / "run", train=train).steps == 1


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_increasing_crops_go_on_exactly_where_they_were(
    stop: int, tiny_store: Path, tmp_path: Path
) -> None:
    train = {"epochs": 2, "sizes": (16, 24, 32), "size_shares": (0.5, 0.2, 0.3), "log_every": 1}
    heard = Heard()
    whole = run(tiny_store, tmp_path / "whole", heard, train=train)
    increased = [(event["step"], event["size"]) for event in events(whole.run) if "size" in event]
    assert increased == [(0, 16), (3, 24), (4, 32)]
    assert "crops of 24 px from step 4 on" in heard.notes
    assert load_model(whole.run).description.size == 32

    class Stops(Heard):
        def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
            if done == stop and "loss" in detail:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        run(tiny_store, tmp_path / "broken", Stops(), train=train)
    run(tiny_store, tmp_path / "broken", train=train)
    weights = [
        (tmp_path / name / "model" / "model.safetensors").read_bytes()
        for name in ("whole", "broken")
    ]
    assert weights[0] == weights[1]
    rates = [
        {event["step"]: event["lr"] for event in events(tmp_path / name) if "lr" in event}
        for name in ("whole", "broken")
    ]
    assert rates[0] == rates[1]
    once = run(tiny_store, tmp_path / "once", train={"epochs": 2, "size": 32, "log_every": 1})
    assert rates[0] == {event["step"]: event["lr"] for event in events(once.run) if "lr" in event}


def test_batch_norm_ends_with_the_statistics_of_the_last_size(
    tiny_store: Path, tmp_path: Path
) -> None:
    """Momentum 0.1: after 50 steps half a percent of what was before is left."""
    train = {"epochs": None, "crops": 2 * 13 * 60, "batch_size": 13, "lr": 1e-12}
    means = {}
    for name, given in {
        "increased": {"sizes": (16, 32), "size_shares": (0.1, 0.9)},
        "small": {"size": 16},
        "full": {"size": 32},
    }.items():
        result = run(tiny_store, tmp_path / name, train={**train, **given})
        weights = load_model(result.run).backbone.state_dict()
        means[name] = torch.cat([value for key, value in weights.items() if "running_mean" in key])
    away = (means["small"] - means["full"]).norm()
    assert (means["increased"] - means["full"]).norm() < away / 10


def test_a_size_that_the_network_cannot_take_is_refused(tiny_store: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="too small for backbone 'inception_v3': allowed is 75"):
        run(tiny_store, tmp_path / "run", backbone="inception_v3", train={"sizes": (32, 96)})


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"epochs": 3, "crops": 100}, r"--train.epochs is 3 and --train.crops is 100"),
        ({"crops": 0}, r"--train.crops is 0: allowed is 1 or more"),
        ({"sizes": (64, 32)}, r"--train.sizes is 64 32: allowed are increasing sizes"),
        ({"sizes": (32, 32)}, r"--train.sizes is 32 32: allowed are increasing sizes"),
        (
            {"sizes": (8, 32)},
            r"--train.sizes is 8 32: allowed are increasing sizes of 16 px or more",
        ),
        ({"sizes": ()}, r"--train.sizes is empty"),
        ({"sizes": (32, 64), "size": 48}, r"--train.size is 48 and --train.sizes is 32 64"),
        ({"size_shares": (0.5, 0.5)}, r"--train.size-shares needs --train.sizes"),
        ({"sizes": (32, 64), "size_shares": (1.0,)}, r"one number above 0 for each of the 2 sizes"),
        ({"sizes": (32, 64), "size_shares": (1.0, 0.0)}, r"one number above 0 for each"),
        ({"sizes": (32, 64), "size_shares": (0.5, 0.6)}, r"which sums to 1.1"),
        ({"sizes": (32, 64), "size_shares": (0.5, float("nan"))}, r"one number above 0 for each"),
    ],
)
def test_lengths_and_sizes_that_cannot_work_are_refused(given: dict[str, Any], line: str) -> None:
    with pytest.raises(OptionError, match=line):
        TrainOptions(**given)


def test_without_a_length_there_are_20_epochs() -> None:
    assert TrainOptions().epochs == 20
    assert TrainOptions(crops=1000).epochs is None
