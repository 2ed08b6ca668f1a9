"""The picture of crops: in the run folder, what the first step sees, and without any trace in the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hilum.bundle.initialization import new_backbone
from hilum.errors import RunError
from hilum.images.films import Films
from hilum.listener import Listener
from hilum.methods.moco import MoCo, MoCoOptions
from hilum.training.batches import Batches, shuffled
from hilum.training.options import TrainOptions
from hilum.workflows.train.crop_grid import (
    BRIGHTEST,
    FILMS,
    SIDE,
    THIN,
    WIDE,
    crop_grid,
    write_crop_grid,
)
from hilum.workflows.train.options import PretrainOptions
from hilum.workflows.train.pretrain import pretrain

SIZE = 32


def read(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return picture


def parts(store: Path) -> tuple[MoCo, Batches]:
    films = Films.open([store])
    learner = MoCo(new_backbone("test_resnet", SIZE, 0), MoCoOptions(queue_size=8), SIZE)
    return learner, Batches(films, shuffled(np.arange(40), 3), 16)


def test_the_grid_shows_the_crops_of_the_first_step(tiny_store: Path, tmp_path: Path) -> None:
    learner, batches = parts(tiny_store)
    write_crop_grid(tmp_path / "crops.png", learner, batches, seed=3)
    picture = read(tmp_path / "crops.png")
    assert picture.shape == (FILMS * SIDE + (FILMS - 1) * THIN, 3 * SIDE + WIDE + THIN, 4)
    _, batch = next(batches.run(0, 1))
    second = learner.make_crops(batch, 3)[1][4, 0].numpy()
    expected = np.clip(second / (2 * BRIGHTEST) + 0.5, 0, 1) * 255
    top, left = 4 * (SIDE + THIN), 2 * SIDE + WIDE + THIN
    shown = cv2.resize(
        picture[top : top + SIDE, left : left + SIDE, 0], (SIZE, SIZE), interpolation=cv2.INTER_AREA
    )
    assert np.corrcoef(shown.ravel(), expected.ravel())[0, 1] > 0.97


@pytest.mark.parametrize(("side", "below"), [(32, 2), (24, 2), (21, 3), (48, 1)])
def test_between_pictures_it_is_transparent_and_small_crops_keep_their_proportion(
    side: int, below: int
) -> None:
    large, small = np.full((2, 64, 64), 200, np.uint8), np.full((2, side, side), 90, np.uint8)
    grid = crop_grid([large, large, large, *[small] * 6])
    column = int((SIDE + THIN) * side / 64) - THIN
    assert column == pytest.approx(SIDE * side / 64, rel=0.08)
    columns = -(-6 // below)
    assert grid.shape[1] == 3 * SIDE + 2 * WIDE + THIN + columns * column + (columns - 1) * THIN
    opaque = grid[:, :, 3] == 255
    assert opaque.sum() == 2 * (3 * SIDE**2 + 6 * column**2)
    assert set(np.unique(grid[:, :, 3])) == {0, 255}
    assert (grid[:, :, 0][opaque] == 90).sum() == 2 * 6 * column**2


@pytest.mark.parametrize("films", [6, 40])
def test_every_film_of_a_short_batch_is_shown(
    make_store: Callable[..., Path], tmp_path: Path, films: int
) -> None:
    learner, _ = parts(make_store(tmp_path / "store", films=films))
    batches = Batches(Films.open([tmp_path / "store"]), shuffled(np.arange(4), 0), 4)
    write_crop_grid(tmp_path / "crops.png", learner, batches, seed=0)
    assert read(tmp_path / "crops.png").shape[0] == 4 * SIDE + 3 * THIN


def test_drawing_moves_no_random_number_and_is_the_same_again(
    tiny_store: Path, tmp_path: Path
) -> None:
    learner, batches = parts(tiny_store)
    before, weights = (
        torch.random.get_rng_state(),
        {k: v.clone() for k, v in learner.state_dict().items()},
    )
    for name in ("one.png", "two.png"):
        write_crop_grid(tmp_path / name, learner, batches, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(value, weights[name]) for name, value in learner.state_dict().items())
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_a_run_has_its_crops_and_gets_them_again_when_it_goes_on(
    tiny_store: Path, tmp_path: Path
) -> None:
    def options(**train: object) -> PretrainOptions:
        given = TrainOptions(**{"epochs": 1, "batch_size": 16, "accelerator": "cpu", **train})
        return PretrainOptions(
            data=(tiny_store,), out=tmp_path / "run", backbone="test_resnet", train=given
        )

    pretrain("moco", MoCoOptions(), options(), Listener())
    first = (tmp_path / "run" / "crops.png").read_bytes()
    (tmp_path / "run" / "metrics.json").unlink()  # as if it had been killed just before it was done
    (tmp_path / "run" / "crops.png").unlink()
    pretrain("moco", MoCoOptions(), options(), Listener())
    assert (tmp_path / "run" / "crops.png").read_bytes() == first
    with pytest.raises(RunError, match="other options"):
        pretrain("moco", MoCoOptions(), options(seed=4), Listener())
