"""The supervised learner: what learns, what stays frozen, what counts."""

from __future__ import annotations

import pytest
import torch

from hilum.augment.crops import CropRecipe, whole_film
from hilum.augment.presets import FINETUNE
from hilum.bundle.initialization import new_backbone, seeded
from hilum.classifier.learner import SupervisedLearner
from hilum.classifier.objective import Objective
from hilum.losses.classification import masked_bce
from hilum.training.learner import Batch
from hilum.training.optimiser import adamw


def learner(*, freeze: bool = False) -> SupervisedLearner:
    with seeded(0):
        return SupervisedLearner(
            new_backbone("test_resnet", 32, 0), 3, CropRecipe(), 32, freeze=freeze
        )


def batch(of: SupervisedLearner, films: int = 8) -> Batch:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (films, 1, 32, 32), dtype=torch.uint8, generator=rng)
    index = torch.arange(films)
    labels = (torch.rand(films, 3, generator=rng) > 0.5).float()
    batch = Batch(images, index, index, index, labels, torch.ones(films, 3))
    return batch._replace(crops=of.make_crops(batch, 0))


def test_the_loss_is_the_cross_entropy_of_the_augmented_films() -> None:
    of = learner().eval()
    given = batch(of)
    logits = of.classifier(whole_film(given.images, 32))
    torch.testing.assert_close(of(given), masked_bce(logits, given.labels, given.weights))


def test_the_gradient_reaches_everything_and_the_loss_falls() -> None:
    of = learner().train()
    optimiser = adamw(of, 3e-3, 0.0)
    losses = []
    reached: set[str] = set()
    for _ in range(20):
        loss = of(batch(of))
        loss.backward()
        reached |= {name for name, p in of.backbone.named_parameters() if p.grad.any()}
        assert all(p.grad is not None and p.grad.any() for p in of.head.parameters())
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert reached == {name for name, _ in of.backbone.named_parameters()}


def test_a_frozen_backbone_stays_as_it_was_statistics_included() -> None:
    of = learner(freeze=True)
    before = {name: value.clone() for name, value in of.backbone.state_dict().items()}
    head = of.head.weight.detach().clone()
    optimiser = adamw(of, 0.1, 0.1)
    of.train()
    for _ in range(3):
        of(batch(of)).backward()
        optimiser.step()
    assert all(torch.equal(value, before[name]) for name, value in of.backbone.state_dict().items())
    assert not torch.equal(of.head.weight, head)


def test_a_film_that_comes_again_in_an_epoch_gets_another_crop() -> None:
    of = learner()
    of.recipe = FINETUNE
    given = batch(of)
    (once,) = of.make_crops(given, 0)
    (first,) = of.make_crops(given._replace(repeat=torch.zeros(8, dtype=torch.int64)), 0)
    (again,) = of.make_crops(given._replace(repeat=torch.tensor([1, 0] * 4)), 0)
    assert torch.equal(first, once)
    alike = [torch.equal(one, other) for one, other in zip(once, again, strict=True)]
    assert alike == [False, True] * 4


def test_the_classifier_has_one_output_a_finding_whatever_is_trained() -> None:
    with seeded(0):
        of = SupervisedLearner(
            new_backbone("test_resnet", 32, 0), Objective(3, (1,)), CropRecipe(), 32, freeze=False
        )
    assert of.head.out_features == 5
    given = batch(of)
    assert of.classifier(given.crops[0]).shape == (8, 3)
    of(given).backward()
    assert all(p.grad is not None and p.grad.any() for p in of.head.parameters())


@pytest.mark.parametrize("missing", ["crops", "labels", "weights"])
def test_a_batch_that_lacks_something_is_refused(missing: str) -> None:
    of = learner()
    with pytest.raises(ValueError, match="needs crops, labels and weights"):
        of(batch(of)._replace(**{missing: None}))
