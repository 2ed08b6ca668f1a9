"""BYOL: what predicts what, the target's course, the two pipelines, and that the defaults do not collapse."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hilum.bundle.initialization import new_backbone, seeded
from hilum.errors import OptionError
from hilum.losses.byol import byol_loss
from hilum.methods.byol import BYOL, BYOLOptions
from hilum.nn.ema import cosine_rise
from hilum.training.learner import Batch
from hilum.training.optimiser import adamw

SIZE = 32


def byol(**options: object) -> BYOL:
    with seeded(0):
        given = BYOLOptions(**{"embedding_size": 16, "hidden_size": 64, **options})  # type: ignore[arg-type]
        return BYOL(new_backbone("test_resnet", SIZE, 0), given, SIZE)


def batch(of: BYOL, films: int = 8, seed: int = 0) -> Batch:
    """Films that differ in more than noise: a bright square, elsewhere in each."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 80, (films, 1, SIZE, SIZE), dtype=torch.uint8, generator=rng)
    for image, (row, column) in zip(
        images, torch.randint(0, SIZE - 12, (films, 2), generator=rng), strict=True
    ):
        image[0, row : row + 12, column : column + 12] += 150
    index = torch.arange(films)
    bare = Batch(images, index, index, index)
    return bare._replace(crops=of.make_crops(bare, seed))


def moved(of: BYOL) -> BYOL:
    """Let the two networks differ."""
    with torch.no_grad():
        for number, parameter in enumerate(of.target_projector.parameters()):
            parameter += 0.1 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(number)
            )
    return of


def test_each_crop_predicts_the_targets_view_of_the_other() -> None:
    of = moved(byol()).eval()
    given = batch(of)
    with torch.no_grad():
        strong, weak = (of.predictor(of.projector(of.backbone(crop))) for crop in given.crops)
        target_strong, target_weak = (
            of.target_projector(of.target_backbone(crop)) for crop in given.crops
        )
        expected = (byol_loss(strong, target_weak) + byol_loss(weak, target_strong)) / 2
        torch.testing.assert_close(of(given), expected)
        swapped = of(given._replace(crops=given.crops[::-1]))
    torch.testing.assert_close(swapped, expected)


def test_no_gradient_reaches_the_target() -> None:
    of = byol().train()
    of(batch(of)).backward()
    for part in (of.target_backbone, of.target_projector):
        assert part.training
        assert not any(p.requires_grad or p.grad is not None for p in part.parameters())
    assert all(
        p.grad is not None for part in (of.projector, of.predictor) for p in part.parameters()
    )


def test_the_networks_begin_alike_and_the_target_has_no_predictor() -> None:
    of = byol()
    for slow, fast in ((of.target_backbone, of.backbone), (of.target_projector, of.projector)):
        pairs = zip(slow.parameters(), fast.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
    assert not [
        name for name, _ in of.named_parameters() if "target" in name and "predictor" in name
    ]


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_the_target_moves_by_the_average_alone(progress: float) -> None:
    of = byol(ema_decay=0.9)
    optimiser = adamw(of, 0.05, 0.0)
    of(batch(of)).backward()
    before = {name: p.detach().clone() for name, p in of.target_backbone.named_parameters()}
    optimiser.step()
    of.after_step(progress)
    decay = cosine_rise(0.9, progress)
    online = dict(of.backbone.named_parameters())
    for name, parameter in of.target_backbone.named_parameters():
        expected = decay * before[name] + (1 - decay) * online[name].detach()
        torch.testing.assert_close(parameter, expected, atol=1e-6, rtol=1e-5)


def test_the_first_crop_is_strong_and_the_second_weak() -> None:
    def roughness(films: Tensor) -> float:
        return float(films.diff(dim=-1).square().mean())

    of = byol()
    first, second = batch(of, films=64).crops
    assert roughness(first) < roughness(second)  # blur on one of them
    options = BYOLOptions()
    assert options.crops.min_scale < options.weak_crops.min_scale
    same = byol(weak_crops=options.crops)
    assert torch.equal(batch(same, films=64).crops[0], first)
    assert not torch.equal(batch(same, films=64).crops[1], second)


@pytest.mark.parametrize(("batch_norm", "norms"), [(True, 1), (False, 0)])
def test_the_heads_are_normalised_if_wanted(batch_norm: bool, norms: int) -> None:
    of = byol(batch_norm=batch_norm)
    for head, enters in ((of.projector, of.backbone.out_features), (of.predictor, 16)):
        assert sum(isinstance(module, nn.BatchNorm1d) for module in head) == norms
        sizes = [(m.in_features, m.out_features) for m in head if isinstance(m, nn.Linear)]
        assert sizes == [(enters, 64), (64, 16)]


def cosine_of_strangers(of: BYOL) -> float:
    """Return the mean cosine between the projections of different films."""
    crops = torch.cat([batch(of, films=32, seed=seed).crops[1] for seed in (50, 51)])
    with torch.no_grad():
        unit = F.normalize(of.embed(crops), dim=1)
    count = len(unit)
    return float((unit @ unit.T).sum() - count) / (count * (count - 1))


@pytest.mark.parametrize(("predictor", "collapses"), [(True, False), (False, True)])
def test_the_predictor_keeps_the_films_apart(predictor: bool, collapses: bool) -> None:
    of = byol(embedding_size=32, hidden_size=128).train()
    if not predictor:
        of.predictor = nn.Sequential()
    optimiser = adamw(of, 1e-3, 1e-4)
    for step in range(40):
        of(batch(of, films=32, seed=step)).backward()
        optimiser.step()
        optimiser.zero_grad()
        of.after_step(step / 40)
    alike = cosine_of_strangers(of)
    assert alike > 0.8 if collapses else alike < 0.3


def test_chance_is_a_right_angle() -> None:
    assert byol().chance_loss(8) == 2.0


def test_one_film_has_no_batch_statistics() -> None:
    of = byol()
    with pytest.raises(OptionError, match=r"--train\.batch-size is 1: .*2 or more"):
        of(batch(of, films=1))
    plain = byol(
        batch_norm=False
    ).eval()  # a backbone's own statistics are not the method's concern
    assert plain(batch(plain, films=1)).isfinite()


@pytest.mark.parametrize(
    "options", [{"embedding_size": 0}, {"hidden_size": 0}, {"ema_decay": math.nan}]
)
def test_options_outside_their_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=r"--method\..*allowed is") as caught:
        BYOLOptions(**options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
