"""VICReg: what is compared, the projector, the other film of a pair, and the loss of a collapse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hilum.bundle.initialization import new_backbone, seeded
from hilum.errors import OptionError
from hilum.losses.vicreg import vicreg_loss
from hilum.methods.vicreg import VICReg, VICRegOptions
from hilum.training.learner import Batch

SIZE = 32


def vicreg(**options: object) -> VICReg:
    with seeded(0):
        given = VICRegOptions(**{"embedding_size": 16, "hidden_size": 24, **options})  # type: ignore[arg-type]
        return VICReg(new_backbone("test_resnet", SIZE, 0), given, SIZE)


def batch(of: VICReg, films: int = 8) -> Batch:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (films, 1, SIZE, SIZE), dtype=torch.uint8, generator=rng)
    index = torch.arange(films)
    bare = Batch(images, index, index, index)
    return bare._replace(crops=of.make_crops(bare, 0))


def test_is_the_loss_of_the_projections_with_the_weights_given() -> None:
    given = {"invariance": 10.0, "variance": 5.0, "covariance": 0.5}
    of = vicreg(**given).train()
    films = batch(of)
    found = of(films)
    with torch.no_grad():
        # Both crops share the statistics of one batch.
        first, second = of.projector(of.backbone(torch.cat(films.crops))).chunk(2)
        torch.testing.assert_close(found.detach(), vicreg_loss(first, second, **given))
        assert float(found.detach()) != pytest.approx(float(vicreg().train()(films)))


@pytest.mark.parametrize(("batch_norm", "norms"), [(True, 2), (False, 0)])
def test_the_projector_has_two_hidden_layers(batch_norm: bool, norms: int) -> None:
    of = vicreg(batch_norm=batch_norm)
    layers = [module for module in of.projector if isinstance(module, nn.Linear)]
    assert [layer.out_features for layer in layers] == [24, 24, 16]
    assert layers[0].in_features == of.backbone.out_features
    assert sum(isinstance(module, nn.BatchNorm1d) for module in of.projector) == norms
    assert sum(isinstance(module, nn.ReLU) for module in of.projector) == 2


def test_the_second_crop_is_cut_from_the_other_film_of_the_pair() -> None:
    of = vicreg()
    given = batch(of)
    positives = (given.images.flip(0), given.index.flip(0))
    first, second = of.make_crops(given._replace(positives=positives), 0)
    assert torch.equal(first, given.crops[0])
    assert torch.equal(second, given.crops[1].flip(0))


def test_films_that_cannot_be_told_apart_have_the_loss_of_chance() -> None:
    of = vicreg(variance=7.0).eval()
    for layer in of.projector:
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.weight)
    assert float(of(batch(of)).detach()) == pytest.approx(of.chance_loss(8), rel=1e-5)
    assert of.chance_loss(8) == pytest.approx(7 * 0.99)


def test_one_film_has_no_variance() -> None:
    of = vicreg()
    with pytest.raises(OptionError, match=r"--train\.batch-size is 1: .*2 or more"):
        of(batch(of, films=1))


@pytest.mark.parametrize(
    "options",
    [
        {"embedding_size": 1},
        {"hidden_size": 0},
        {"invariance": 0.0},
        {"variance": -1.0},
        {"covariance": -0.1},
        {"variance": float("nan")},
    ],
)
def test_options_outside_their_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=r"--method\..*allowed is") as caught:
        VICRegOptions(**options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_the_deviation_is_that_of_the_embeddings_as_they_are() -> None:
    embeddings = torch.tensor([[0.0, 10.0], [2.0, 10.0], [4.0, 10.0]])
    assert vicreg().diagnose(embeddings)["deviation"] == pytest.approx(1.0)  # 2 and 0
    assert vicreg().diagnose(1e-3 * embeddings)["deviation"] == pytest.approx(1e-3)
