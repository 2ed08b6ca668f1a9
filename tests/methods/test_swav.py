"""SwAV: crops, passes, codes with and without the queue, frozen prototypes, sizes, several processes, and chance."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from hilum.bundle.initialization import new_backbone, seeded
from hilum.errors import OptionError
from hilum.losses.swav import sinkhorn, swapped_prediction
from hilum.methods.swav import SwAV, SwAVOptions, fitting_local_size
from hilum.training.learner import Batch
from hilum.training.optimiser import adamw

SIZE = 32
SMALL = {"embedding_size": 16, "prototypes": 12, "queue_size": 16, "local_crops": 2}


def swav(backbone: str = "test_resnet", **options: object) -> SwAV:
    with seeded(0):
        return SwAV(new_backbone(backbone, SIZE, 0), SwAVOptions(**{**SMALL, **options}), SIZE)  # type: ignore[arg-type]


def batch(
    of: SwAV, films: int = 8, seed: int = 0, epoch: int = 0, *, positives: bool = False
) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (films, 1, SIZE, SIZE), dtype=torch.uint8, generator=rng)
    index = torch.arange(films)
    bare = Batch(images, index, index, index, epoch=epoch)
    if positives:
        bare = bare._replace(positives=(images.flip(0), index.flip(0)))
    return bare._replace(crops=of.make_crops(bare, seed))


@torch.no_grad()
def scores(of: SwAV, given: Batch) -> torch.Tensor:
    """Return the scores [V, B, K], computed one crop at a time."""
    assert given.crops is not None
    return torch.stack(
        [F.normalize(of.embed(crop), dim=1) @ of.prototypes.weight.T for crop in given.crops]
    )


def loss_by_hand(of: SwAV, given: Batch, queued: Batch | None = None) -> float:
    """Return the loss from scores of one crop at a time, with the films of another batch as the queue."""
    own = scores(of, given)
    known = own if queued is None else torch.cat([own[:2], scores(of, queued)[:2]], dim=1)
    codes = torch.stack(
        [sinkhorn(known[crop], of.options.epsilon, 3)[: own.shape[1]] for crop in range(2)]
    )
    return float(swapped_prediction(own, codes, of.options.temperature))


def test_two_crops_are_global_and_the_others_small() -> None:
    of = swav(local_crops=6)
    crops = batch(of).crops
    assert crops is not None
    assert [crop.shape[-1] for crop in crops] == [32, 32, *[24] * 6]


def test_only_the_second_crop_is_cut_from_the_twin() -> None:
    of = swav()
    alone, paired = batch(of).crops, batch(of, positives=True).crops
    assert alone is not None
    assert paired is not None
    same = [torch.equal(one, other) for one, other in zip(alone, paired, strict=True)]
    assert same == [True, False, True, True]
    assert torch.equal(paired[1], alone[1].flip(0))


@pytest.mark.parametrize("local_crops", [0, 2])
def test_the_loss_is_that_of_crops_taken_one_by_one(local_crops: int) -> None:
    of = swav(
        local_crops=local_crops, queue_from_epoch=1
    ).eval()  # batch norms that do not mix crops
    earlier, given = batch(of, films=16, seed=1), batch(of, epoch=1)
    without, with_queue = loss_by_hand(of, given), loss_by_hand(of, given, earlier)
    with torch.no_grad():
        assert float(of(given)) == pytest.approx(without, abs=1e-5)  # the queue is not full yet
        of(earlier)
        assert float(of(given)) == pytest.approx(with_queue, abs=1e-5)
    assert abs(without - with_queue) > 1e-4


def test_the_queue_is_filled_from_the_start_and_used_from_its_epoch_on() -> None:
    with_queue, without = swav(queue_from_epoch=2).eval(), swav(queue_size=0).eval()
    losses = []
    with torch.no_grad():
        for epoch in range(4):
            given = batch(with_queue, seed=epoch, epoch=epoch)
            losses.append((float(with_queue(given)), float(without(given))))
    assert [mine == other for mine, other in losses] == [True, True, False, False]
    assert without.queue is None


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_prototypes_are_frozen_for_the_first_epochs(epoch: int) -> None:
    of = swav(freeze_epochs=2)
    optimiser = adamw(of, 0.05, 0.1)
    before = of.prototypes.weight.detach().clone()
    of(batch(of, epoch=epoch)).backward()
    assert (of.prototypes.weight.grad is None) == (epoch < 2)
    optimiser.step()
    of.after_step(0.5)
    moved = float((of.prototypes.weight - before).abs().max().detach())
    assert moved > 1e-2 if epoch == 2 else moved < 1e-6
    torch.testing.assert_close(of.prototypes.weight.detach().norm(dim=1), torch.ones(12))


def test_local_crops_leave_the_running_statistics_of_the_backbone_alone() -> None:
    of, two = swav(local_crops=2).train(), swav(local_crops=0).train()
    for learner in (of, two):
        learner(batch(learner))
    mine, others = of.backbone.state_dict(), two.backbone.state_dict()
    means = [name for name in mine if name.endswith(("running_mean", "running_var"))]
    assert means
    assert all(torch.equal(mine[name], others[name]) for name in means)
    assert {
        part.momentum for part in of.backbone.modules() if isinstance(part, torch.nn.BatchNorm2d)
    } == {0.1}


def test_a_batch_of_one_film_says_what_to_do() -> None:
    of = swav()
    with pytest.raises(
        OptionError,
        match=r"--train\.batch-size is 1: SwAV needs 2 or more, or --method\.no-batch-norm",
    ):
        of(batch(of, films=1))
    swav(batch_norm=False).eval()(batch(of, films=1))


@pytest.mark.parametrize(
    ("backbone", "wanted", "size", "expected"),
    [
        ("test_resnet", 0, 32, 24),
        ("test_resnet", 0, 16, 16),
        ("test_resnet", 0, 64, 32),
        ("test_resnet", 0, 224, 112),
        ("test_resnet", 40, 64, 40),
        ("densenet121", 0, 64, 32),
        ("inception_v3", 0, 64, 32),  # which enlarges all that is below 75 px
        ("inception_v3", 0, 128, 75),
    ],
)
def test_local_crops_are_as_large_as_the_backbone_needs(
    backbone: str, wanted: int, size: int, expected: int
) -> None:
    network = new_backbone(backbone, size, 0).eval()
    side = fitting_local_size(network, wanted, size)
    assert side == expected
    assert network(torch.zeros(1, 1, side, side)).shape == (1, network.out_features)


@pytest.mark.parametrize(
    ("backbone", "wanted", "size", "line"),
    [
        (
            "test_resnet",
            40,
            32,
            r"--method\.local-size is 40 and films enter at 32 px: allowed is up to 32\.",
        ),
        (
            "inception_v3",
            32,
            128,
            r"--method\.local-size is 32, too small for backbone 'inception_v3': "
            r"allowed is 75 or more, or --method\.local-crops 0\.",
        ),
    ],
)
def test_a_local_size_that_cannot_work_is_refused(
    backbone: str, wanted: int, size: int, line: str
) -> None:
    with pytest.raises(OptionError, match=line) as caught:
        fitting_local_size(new_backbone(backbone, size, 0), wanted, size)
    assert "\n" not in str(caught.value)


def test_chance_is_the_logarithm_of_the_prototypes() -> None:
    of = swav(temperature=1e6).eval()  # nothing can be told apart
    with torch.no_grad():
        assert float(of(batch(of))) == pytest.approx(of.chance_loss(8), abs=1e-4)
    assert of.chance_loss(8) == pytest.approx(math.log(12))


def test_a_collapse_is_seen_in_the_prototypes_used() -> None:
    of = swav()
    rng = torch.Generator().manual_seed(0)
    assert of.diagnose(torch.randn(1, 16, generator=rng).expand(50, 16)) == {
        "prototypes_used": pytest.approx(1)
    }
    assert of.diagnose(torch.randn(400, 16, generator=rng))["prototypes_used"] > 8
    assert of.diagnose(of.prototypes.weight * 7) == {"prototypes_used": pytest.approx(12)}


@pytest.mark.parametrize(
    ("films", "prototypes", "queue"),
    [(100_000, 200, 1024), (3000, 100, 750), (100, 8, 25), (0, 8, 0)],
)
def test_prototypes_and_queue_are_held_to_what_the_films_can_fill(
    films: int, prototypes: int, queue: int
) -> None:
    fitted = SwAVOptions().for_films(films)
    assert (fitted.prototypes, fitted.queue_size) == (prototypes, queue)


@pytest.mark.parametrize(
    "options",
    [
        {"embedding_size": 0},
        {"prototypes": 1},
        {"queue_size": -1},
        {"iterations": 0},
        {"local_crops": -1},
        {"local_size": 16},
        {"temperature": 0.0},
        {"epsilon": math.nan},
    ],
)
def test_options_outside_their_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=r"--method\..*allowed is") as caught:
        SwAVOptions(**options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_the_pipelines_of_both_kinds_of_crops_can_be_chosen() -> None:
    plain, other = swav(), swav(local=replace(SwAVOptions().local, flip=0.0, noise=0.1))
    one, two = batch(plain).crops, batch(other).crops
    assert one is not None
    assert two is not None
    assert [torch.equal(a, b) for a, b in zip(one, two, strict=True)] == [True, True, False, False]
