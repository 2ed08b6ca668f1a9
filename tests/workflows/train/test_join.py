"""Starts side by side as one model: what it knows, what it refuses, and a fine-tuning that begins there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from hilum.bundle.initialization import initial_weights, new_backbone
from hilum.bundle.model_folder import load_model
from hilum.errors import HilumError, RunError
from hilum.images.films import Films
from hilum.methods.moco import MoCoOptions
from hilum.nn.joined import JoinedNetwork
from hilum.training.inference import over_films
from hilum.training.options import TrainOptions
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.evaluate.evaluate import evaluate
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.export.export import export
from hilum.workflows.export.options import ExportOptions
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.join import NamedWeights, join
from hilum.workflows.train.join_options import JoinOptions
from hilum.workflows.train.options import (
    FinetuneOptions,
    FinetuneTrainOptions,
    PretrainOptions,
)
from hilum.workflows.train.pretrain import pretrain

NETWORK = "test_efficientnet"


@pytest.fixture(scope="module")
def moco(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("join") / "moco"
    loop = TrainOptions(epochs=1, batch_size=16, accelerator="cpu")
    pretrain(
        "moco",
        MoCoOptions(),
        PretrainOptions(data=(tiny_store,), out=out, backbone="test_resnet", train=loop),
    )
    return out


@pytest.fixture(scope="module")
def weights(moco: Path) -> Path:
    file = moco.parent / "weights.safetensors"
    save_file(new_backbone(NETWORK, 64, 7).network.state_dict(), file)
    return file


@pytest.fixture(scope="module")
def both(moco: Path, weights: Path) -> Path:
    out = moco.parent / "both"
    result = join([str(moco), f"{NETWORK}@64={weights}"], JoinOptions(out=out))
    assert result.backbone == f"test_resnet+{NETWORK}@64"
    return out


def test_the_joined_model_has_the_weights_of_its_starts(
    moco: Path, weights: Path, both: Path
) -> None:
    network = load_model(both).backbone.network
    assert isinstance(network, JoinedNetwork)
    for part, start, name in zip(
        network.parts, (str(moco), str(weights)), (None, NETWORK), strict=True
    ):
        given = initial_weights(start, name, 32, 0).backbone.network.state_dict()
        for key, value in part.state_dict().items():
            assert torch.equal(value, given[key]), key


def test_it_knows_the_films_of_its_starts_and_their_preparation(moco: Path, both: Path) -> None:
    one, joined = load_model(moco), load_model(both)
    assert joined.seen.equals(one.seen)
    assert len(joined.seen) > 0
    assert joined.description.preparation == one.description.preparation
    assert joined.description.training_data["stores"] == one.description.training_data["stores"]
    assert [start["backbone"] for start in joined.description.training_data["starts"]] == [
        "test_resnet", NETWORK,
    ]  # fmt: skip


def options(store: Path, init: Path, out: Path, **more: Any) -> FinetuneOptions:
    train = FinetuneTrainOptions(epochs=1, batch_size=8, accelerator="cpu", min_steps=0)
    return FinetuneOptions(data=(store,), out=out, init=str(init), train=train, **more)


def test_a_fine_tuning_begins_there_and_is_evaluated_but_not_exported(
    both: Path, tiny_store: Path, tmp_path: Path
) -> None:
    how = {"freeze": True, "probe_first": True, "probe_scale": "patient", "validation": "within"}
    result = finetune(options(tiny_store, both, tmp_path / "few", folds=2, **how))
    model = load_model(result.run)
    start = load_model(both).backbone.network.state_dict()
    for key, value in model.backbone.network.state_dict().items():
        assert torch.equal(value, start[key]), key
    evaluate(result.run, EvaluateOptions(data=tiny_store, resamples=50))
    with pytest.raises(RunError, match=r"joined model .* no single network of timm"):
        export(result.run, ExportOptions(out=tmp_path / "bundle"))
    assert not (tmp_path / "bundle").exists()


def test_its_features_go_through_the_whole_network(
    both: Path, moco: Path, tiny_store: Path
) -> None:
    films = Films.open([tiny_store])
    rows = Subsets.of(films).rows("val")
    of_both, of_one = (
        over_films(load_model(path).backbone, films, rows, 32) for path in (both, moco)
    )
    assert of_both[:, : of_one.shape[1]] == pytest.approx(of_one, abs=1e-5)
    assert of_both.shape[1] > of_one.shape[1]


@pytest.mark.parametrize(
    ("starts", "line"),
    [
        (["{moco}"], "two starts or more, and 1 given"),
        ([f"{NETWORK}={{weights}}", f"{NETWORK}=random"], "none of them is a run"),
        (["{moco}", "nowhere=missing.safetensors"], "nowhere"),
        (["{moco}", "{both}"], "joined itself"),
        (["{moco}", f"{NETWORK}@4={{weights}}"], "films of 4 px: allowed is 16"),
        (["{moco}", "resnet18={weights}"], "resnet18"),
    ],
)
def test_what_cannot_be_joined_is_refused_in_one_line(
    starts: list[str], line: str, moco: Path, weights: Path, both: Path, tmp_path: Path
) -> None:
    named = [text.format(moco=moco, weights=weights, both=both) for text in starts]
    with pytest.raises(HilumError, match=line) as caught:
        join(named, JoinOptions(out=tmp_path / "out"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(
    moco: Path, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(HilumError, match="holds something else"):
        join([str(moco), f"{NETWORK}={weights}"], JoinOptions(out=tmp_path / "mine"))
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_a_path_that_exists_is_taken_as_it_is(tmp_path: Path) -> None:
    run = tmp_path / "lr=0.1"
    run.mkdir()
    assert NamedWeights.of(str(run)) == NamedWeights(str(run))
