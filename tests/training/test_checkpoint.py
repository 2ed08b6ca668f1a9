"""Checkpoints: every bit comes back, and no damage goes unseen."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from hilum.errors import RunError
from hilum.nn.queue import Queue
from hilum.training.checkpoint import (
    MANIFEST,
    STATE,
    TENSORS,
    Checkpoint,
    capture,
    damage,
    drop_damaged_best,
    load,
    load_best,
    load_newest,
    restore,
    save,
    save_best,
)
from hilum.training.optimiser import adamw

FILES = (TENSORS, STATE, MANIFEST)


class Small(nn.Module):
    """A convolution, a norm with statistics, and a queue."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.norm, self.queue = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), Queue(6, 4)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.norm(self.conv(images)).mean(dim=(2, 3))
        self.queue.push(features.detach(), torch.arange(len(features)))
        return (features * self.queue.copy()[0][:1]).sum()


def trained(seed: int, steps: int) -> tuple[Small, torch.optim.AdamW]:
    module = Small(seed)
    optimiser = adamw(module, 0.01, 0.1)
    train(module, optimiser, steps)
    return module, optimiser


def train(module: Small, optimiser: torch.optim.Optimizer, steps: int) -> None:
    for step in range(steps):
        images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        module(images).backward()
        optimiser.step()
        optimiser.zero_grad()


def flat(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(
        torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


def test_a_round_trip_keeps_every_bit_and_the_memory_layout(tmp_path: Path) -> None:
    module, optimiser = trained(0, 5)
    values = {"best": 0.5, "best_step": 3, "stale": 1, "scaler": {}}
    before = capture(module, optimiser, 5, values)
    state = flat(before)
    save(tmp_path, before)
    found, damaged = load_newest(tmp_path)
    assert found is not None
    assert damaged == []
    assert (found.step, dict(found.values)) == (5, values)
    assert_same(dict(found.tensors), state)
    other, its_optimiser = trained(1, 2)
    restore(found, other, its_optimiser)
    assert_same(flat(capture(other, its_optimiser, 5, {})), state)
    moments = its_optimiser.state[other.conv.weight]
    for tensor in (other.conv.weight, moments["exp_avg"], moments["exp_avg_sq"]):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
    train(module, optimiser, 3)
    train(other, its_optimiser, 3)
    assert_same(flat(capture(other, its_optimiser, 8, {})), flat(capture(module, optimiser, 8, {})))


def small(step: int) -> Checkpoint:
    tensors = {
        "learner/a": torch.full((40,), float(step)),
        "learner/b": torch.arange(12).reshape(3, 4) * step,
    }
    return Checkpoint(step, tensors, {"best": None, "best_step": 0, "stale": 0, "scaler": {}})


def test_the_two_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, small(step))
        if step == 2:
            save_best(tmp_path, small(step))
    save(tmp_path, small(10))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best",
        "step-000000003",
        "step-000000010",
    ]
    newest, _ = load_newest(tmp_path)
    assert newest is not None
    assert newest.step == 10
    assert load_best(tmp_path).step == 2
    save_best(tmp_path, small(11))
    assert load_best(tmp_path).step == 11


def test_nothing_there_is_no_checkpoint(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "never-made") == (None, [])


def test_what_a_killed_process_left_aside_is_cleared(tmp_path: Path) -> None:
    save(tmp_path, small(1))
    for name in (".step-000000002.77.part", ".best.77.old"):
        shutil.copytree(tmp_path / "step-000000001", tmp_path / name)
    newest, damaged = load_newest(tmp_path)
    assert newest is not None
    assert (newest.step, damaged) == (1, [])
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]


def flip(path: Path, rng: random.Random) -> None:
    """Change one byte at a random place."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    path.write_bytes(content)


def cut(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def lengthen(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.randrange(1, 9)))


def empty(path: Path, rng: random.Random) -> None:
    path.write_bytes(b"")


def delete(path: Path, rng: random.Random) -> None:
    path.unlink()


def zero_a_stretch(path: Path, rng: random.Random) -> None:
    """Lose a stretch as a disk does: zeros (ones where there were zeros)."""
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content))
    stretch = content[start : start + 64]
    content[start : start + 64] = bytes(len(stretch)) if any(stretch) else b"\xff" * len(stretch)
    path.write_bytes(content)


def take_from_the_one_before(path: Path, rng: random.Random) -> None:
    shutil.copy(path.parent.parent / "step-000000001" / path.name, path)


def swap_two(path: Path, rng: random.Random) -> None:
    other = path.with_name(rng.choice([name for name in FILES if name != path.name]))
    one, two = path.read_bytes(), other.read_bytes()
    path.write_bytes(two)
    other.write_bytes(one)


def add_a_file(path: Path, rng: random.Random) -> None:
    (path.parent / f"{path.name}.{rng.randrange(99)}").write_bytes(b"x")


def make_a_folder_of_it(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


ONCE_A_FILE = (empty, delete, take_from_the_one_before, swap_two, add_a_file, make_a_folder_of_it)
MANY_TIMES = ((flip, 42), (cut, 10), (lengthen, 6), (zero_a_stretch, 6))
Way = tuple[Callable[[Path, random.Random], None], str, int]
WAYS: list[Way] = [(way, name, 0) for way in ONCE_A_FILE for name in FILES] + [
    (way, name, number) for way, times in MANY_TIMES for name in FILES for number in range(times)
]


def test_there_are_two_hundred_ways() -> None:
    assert len(WAYS) >= 200


@pytest.mark.parametrize(
    "way", [*ONCE_A_FILE, *(way for way, _ in MANY_TIMES)], ids=lambda way: way.__name__
)
def test_every_corruption_is_detected_and_the_one_before_used(
    way: Callable[[Path, random.Random], None], tmp_path: Path
) -> None:
    pristine = tmp_path / "pristine"
    for step in (1, 2):
        save(pristine, small(step))
    assert damage(pristine / "step-000000002") is None
    for corrupt, name, number in WAYS:
        if corrupt is not way:
            continue
        work = tmp_path / f"{name}-{number}"
        shutil.copytree(pristine, work)
        corrupt(work / "step-000000002" / name, random.Random(f"{way.__name__} {name} {number}"))
        assert damage(work / "step-000000002") is not None, (name, number)
        found, lines = load_newest(work)
        assert found is not None
        assert found.step == 1
        assert_same(dict(found.tensors), dict(small(1).tensors))
        assert len(lines) == 1
        assert "step-000000002 is damaged" in lines[0]
        assert "the one before" in lines[0]


def test_both_damaged_leaves_none_with_a_line_each(tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path, small(step))
        flip(tmp_path / f"step-00000000{step}" / TENSORS, random.Random(step))
    found, lines = load_newest(tmp_path)
    assert found is None
    assert len(lines) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", [flip, cut, delete], ids=lambda way: way.__name__)
def test_a_damaged_best_is_refused_in_one_line(
    way: Callable[[Path, random.Random], None], tmp_path: Path
) -> None:
    save_best(tmp_path, small(3))
    way(tmp_path / "best" / TENSORS, random.Random(0))
    with pytest.raises(RunError, match=r"best is damaged .* same command again"):
        load_best(tmp_path)
    assert drop_damaged_best(tmp_path) is not None
    assert not list(tmp_path.iterdir())


def test_a_whole_best_is_not_dropped(tmp_path: Path) -> None:
    save_best(tmp_path, small(3))
    assert drop_damaged_best(tmp_path) is None
    assert load_best(tmp_path).step == 3


def test_equal_states_give_equal_bytes(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        save(tmp_path / folder, small(7))
    for name in FILES:
        one, other = (tmp_path / folder / "step-000000007" / name for folder in ("one", "other"))
        assert one.read_bytes() == other.read_bytes()
    assert load(tmp_path / "one" / "step-000000007").step == 7


def test_tied_weights_are_stored_under_each_of_their_names(tmp_path: Path) -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    network = nn.ModuleList([first, second, nn.Linear(3, 3)])
    optimiser = torch.optim.AdamW(network.parameters())
    save(tmp_path, capture(network, optimiser, 1, {}))
    found, _ = load_newest(tmp_path)
    expected = first.weight.detach().clone()
    with torch.no_grad():
        first.weight.zero_()
    restore(found, network, optimiser)
    assert torch.equal(second.weight, expected)
    assert second.weight is first.weight
