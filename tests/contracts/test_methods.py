"""What every method must keep to: each entry of METHODS is tested alike."""

from __future__ import annotations

import math
import pkgutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hilum.methods
from hilum.bundle.initialization import new_backbone, seeded
from hilum.errors import OptionError
from hilum.images.films import Films
from hilum.listener import SILENT
from hilum.methods import METHODS, load_method
from hilum.training.batches import Batches, shuffled
from hilum.training.learner import Batch, Learner
from hilum.training.loop import Trainer
from hilum.training.optimiser import adamw
from hilum.training.options import TrainOptions
from hilum.training.run_folder import open_run, read_log

SIZE, FILMS = 32, 16
BACKBONES = ("test_resnet", "test_efficientnet_gn")

every_method = pytest.mark.parametrize("name", METHODS)


def learner(name: str, seed: int = 0, backbone: str = "test_resnet", **given: Any) -> Learner:
    method = load_method(name)
    options = method.Options(**given).for_films(4 * FILMS)
    with seeded(seed):
        return method(new_backbone(backbone, SIZE, seed), options, SIZE)


def batch(of: Learner, epoch: int = 0, seed: int = 0) -> Batch:
    """Films that differ in more than noise: a bright square, elsewhere in each."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 80, (FILMS, 1, SIZE, SIZE)).astype(np.uint8)
    for number, (row, column) in enumerate(rng.integers(0, SIZE - 12, (FILMS, 2))):
        images[number, 0, row : row + 12, column : column + 12] += 150
    films, index = torch.from_numpy(images), torch.arange(FILMS)
    bare = Batch(films, index, index, index, epoch=epoch)
    return bare._replace(crops=of.make_crops(bare, seed))


def steps(of: Learner, count: int, lr: float = 3e-3) -> Iterator[float]:
    optimiser = adamw(of, lr, 1e-4)
    of.train()
    for step in range(1, count + 1):
        torch.manual_seed(step)
        loss = of(batch(of))
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        of.after_step(progress=step / count)
        yield float(loss.detach())


def state(of: Learner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in of.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_every_file_stands_in_the_table_and_every_entry_loads() -> None:
    files = {module.name for module in pkgutil.iter_modules(hilum.methods.__path__)}
    named = {where.partition(":")[0].rpartition(".")[2] for where, _ in METHODS.values()}
    assert named == files
    for name, (_, help_line) in METHODS.items():
        assert issubclass(load_method(name), Learner)  # type: ignore[arg-type]
        assert help_line.strip()
        assert "\n" not in help_line


def test_an_unknown_method_is_one_line_with_a_hint() -> None:
    with pytest.raises(
        OptionError, match=r"unknown method 'moko': allowed are .*Did you mean 'moco'"
    ):
        load_method("moko")


@every_method
def test_crops_are_what_the_loop_promises(name: str) -> None:
    of = learner(name)
    first, again, later = batch(of), batch(of), batch(of, epoch=1)
    for crops in (first.crops, again.crops, later.crops):
        assert crops is not None
        assert all(crop.shape[:2] == (FILMS, 1) and crop.dtype == torch.float32 for crop in crops)
        assert all(crop.shape[2:] == (SIZE, SIZE) for crop in crops[:2])
        assert all(crop.shape[2] == crop.shape[3] <= SIZE for crop in crops[2:])  # local crops
    assert all(torch.equal(a, b) for a, b in zip(first.crops, again.crops, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first.crops, later.crops, strict=True))
    pairs = [(a, b) for a, b in combinations(first.crops, 2) if a.shape == b.shape]
    assert pairs
    assert not any(torch.equal(a, b) for a, b in pairs)


@every_method
def test_crops_take_another_size_and_there_are_as_many_as_promised(name: str) -> None:
    of = learner(name)
    crops = batch(of).crops
    of.resize_crops(24)
    smaller = batch(of).crops
    of.resize_crops(SIZE)
    again = batch(of).crops
    assert crops is not None
    assert smaller is not None
    assert again is not None
    assert len(crops) == len(smaller) == of.crops_per_film
    assert all(crop.shape[2:] == (24, 24) for crop in smaller[:2])
    assert all(crop.shape[2] == crop.shape[3] <= 24 for crop in smaller[2:])
    assert all(torch.equal(a, b) for a, b in zip(crops, again, strict=True))
    assert of(batch(of)._replace(crops=smaller)).isfinite()


@every_method
@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_loss_is_finite_and_its_gradient_reaches_the_whole_backbone(
    name: str, backbone: str
) -> None:
    of = learner(name, backbone=backbone).train()
    list(steps(of, 2))  # networks that begin with branches at zero have no gradient there at first
    loss = of(batch(of, epoch=1))  # a method may keep a part of itself frozen in the first epoch
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    loss.backward()
    for where, parameter in of.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, where
            assert parameter.grad.isfinite().all(), where
    missed = [
        where
        for where, p in of.backbone.named_parameters()
        if p.grad is None or not bool(p.grad.any())
    ]
    assert missed == []


@every_method
def test_what_takes_no_gradient_moves_only_after_the_step(name: str) -> None:
    of = learner(name).train()
    list(steps(of, 2))
    slow = {where: p.detach().clone() for where, p in of.named_parameters() if not p.requires_grad}
    optimiser = adamw(of, 0.1, 0.1)
    trained = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert not trained & {id(p) for p in of.parameters() if not p.requires_grad}
    of(batch(of)).backward()
    optimiser.step()
    now = dict(of.named_parameters())
    assert all(torch.equal(now[where], before) for where, before in slow.items())
    of.after_step(progress=0.0)
    moved = [where for where, before in slow.items() if not torch.equal(now[where], before)]
    assert sorted(moved) == sorted(slow)


@every_method
def test_the_loss_falls_in_twenty_steps(name: str) -> None:
    of = learner(name, embedding_size=2 * FILMS)  # no more dimensions than so few films can fill
    losses = list(steps(of, 24))[4:]  # without those in which a queue fills
    assert all(math.isfinite(loss) for loss in losses)
    assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])


@every_method
def test_same_seed_same_numbers(name: str) -> None:
    torch.manual_seed(1)
    one = learner(name)
    first = list(steps(one, 3))
    torch.manual_seed(2)
    other = learner(name)
    assert list(steps(other, 3)) == first
    assert same(state(one), state(other))
    assert list(steps(learner(name, seed=1), 3)) != first


@every_method
def test_the_state_dict_holds_all_that_training_moves(name: str) -> None:
    of, other = learner(name), learner(name, seed=9)
    list(steps(of, 4))
    other.load_state_dict(of.state_dict())
    assert same(state(of), state(other))
    assert list(steps(of, 3)) == list(steps(other, 3))
    assert same(state(of), state(other))


@every_method
def test_the_chance_loss_is_about_that_of_an_untrained_network(name: str) -> None:
    of = learner(name).train()
    chance = of.chance_loss(FILMS)
    if chance is None:
        pytest.skip("chance has no meaning for this method")
    with torch.no_grad():
        losses = [float(of(batch(of, epoch=epoch))) for epoch in range(4)]
    assert losses[-1] == pytest.approx(chance, rel=0.3)  # untrained, with whatever it stores filled


@every_method
def test_bf16_is_inside_the_backbone_and_the_loss_is_float32(
    name: str, tiny_store: Path, tmp_path: Path
) -> None:
    films = Films.open([tiny_store])
    of = learner(name)
    inside: set[torch.dtype] = set()
    losses: set[torch.dtype] = set()

    def note(module: nn.Conv2d, given: Any, output: torch.Tensor) -> None:
        inside.add(output.dtype)

    for module in of.backbone.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    given_crops: set[torch.dtype] = set()
    of.register_forward_pre_hook(
        lambda module, given: given_crops.update(crop.dtype for crop in given[0].crops)
    )
    of.register_forward_hook(lambda module, given, output: losses.add(output.dtype))
    options = TrainOptions(
        epochs=1, batch_size=16, precision="bf16-mixed", accelerator="cpu", log_every=1
    )
    with open_run(tmp_path, {}) as run:
        Trainer(
            of, Batches(films, shuffled(np.arange(48), 0), 16), options, run, SILENT, name
        ).train()
    assert inside == {torch.bfloat16}
    assert given_crops == {torch.float32}
    assert losses == {torch.float32}
    assert {parameter.dtype for parameter in of.parameters()} == {torch.float32}
    assert all(math.isfinite(event["loss"]) for event in read_log(tmp_path) if "loss" in event)


@every_method
def test_a_batch_without_crops_is_refused(name: str) -> None:
    of = learner(name)
    with pytest.raises(ValueError, match="no crops"):
        of(batch(of)._replace(crops=None))
