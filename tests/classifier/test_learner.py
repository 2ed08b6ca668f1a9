"""The supervised learner: what learns, what stays frozen, what counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from hilum.augment.crops import CropRecipe, whole_film
from hilum.augment.presets import FINETUNE
from hilum.bundle.initialization import new_backbone, seeded
from hilum.classifier.learner import SupervisedLearner
from hilum.classifier.network import Classifier
from hilum.classifier.objective import Objective
from hilum.classifier.options import Tuning
from hilum.classifier.probes import LinearProbe
from hilum.losses.classification import masked_bce
from hilum.training.learner import Batch
from hilum.training.optimiser import adamw, build_optimiser, set_lr
from hilum.training.options import TrainOptions


def learner(*, freeze: bool = False) -> SupervisedLearner:
    with seeded(0):
        return SupervisedLearner(
            new_backbone("test_resnet", 32, 0), 3, CropRecipe(), 32, freeze=freeze
        )


def tuned(**how: Any) -> SupervisedLearner:
    with seeded(0):
        of = SupervisedLearner(
            new_backbone("test_resnet", 32, 0),
            3,
            CropRecipe(),
            32,
            freeze=False,
            tuning=Tuning(**how),
        )
    with torch.no_grad():
        of.head.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    of.begin_copies()
    return of.train()


def step(of: SupervisedLearner, times: int = 1) -> None:
    optimiser = build_optimiser(of, TrainOptions(lr=3e-3, weight_decay=0.0))
    for _ in range(times):
        of(batch(of)).backward()
        optimiser.step()
        optimiser.zero_grad()
        of.after_step(0.5)


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


def test_each_stage_learns_with_its_fraction_of_the_rate() -> None:
    of = tuned(backbone_rate=0.1, layer_decay=0.5)
    before = {name: value.detach().clone() for name, value in of.named_parameters()}
    optimiser = build_optimiser(
        of, TrainOptions(optimiser="sgd", lr=1.0, momentum=0.0, weight_decay=0.0)
    )
    set_lr(optimiser, 1.0)
    for parameter in of.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    moved = {
        name: float((before[name] - value).detach().mean()) for name, value in of.named_parameters()
    }
    assert moved["head.weight"] == pytest.approx(1.0, rel=1e-4)
    stages = ("layer4", "layer3", "layer2", "layer1", "conv1")
    rates = [next(moved[n] for n in moved if f"network.{stage}" in n) for stage in stages]
    assert rates == pytest.approx([0.1 * 0.5**i for i in range(5)], rel=1e-3)


def test_with_one_rate_there_are_the_two_groups_of_before() -> None:
    optimiser = build_optimiser(tuned(), TrainOptions())
    assert [sorted(group.keys() & {"fraction"}) for group in optimiser.param_groups] == [[], []]


def test_kept_norms_keep_their_statistics_while_their_weights_learn() -> None:
    for keeps in (True, False):
        of = tuned(keep_norm=keeps)
        norm = next(m for m in of.backbone.modules() if isinstance(m, nn.BatchNorm2d))
        mean, weight = norm.running_mean.clone(), norm.weight.detach().clone()
        step(of)
        assert torch.equal(norm.running_mean, mean) == keeps
        assert not torch.equal(norm.weight, weight)


def test_the_average_follows_the_weights_and_is_the_classifier() -> None:
    of = tuned(average=0.75)
    start = of.head.weight.detach().clone()
    step(of)
    expected = torch.lerp(start, of.head.weight.detach(), 9 / 11)  # of the first step
    torch.testing.assert_close(of.classifier.head.weight, expected)
    assert of.classifier.backbone is of.averaged.network.backbone
    step(of, 3)
    assert not of.averaged.training
    assert not any(parameter.requires_grad for parameter in of.averaged.parameters())


def test_the_candidates_are_the_probe_the_tuned_network_and_the_mean_of_their_weights() -> None:
    of = tuned(probe_first=True, average=0.5)
    start = of.head.weight.detach().clone()
    step(of, 2)
    named = of.candidates()
    assert list(named) == ["probe", "mean", "tuned"]
    assert torch.equal(named["probe"].head.weight, start)
    middle = {name: value for name, value in named["mean"].state_dict().items() if value.ndim}
    for name, value in middle.items():
        ends = [named[end].state_dict()[name] for end in ("probe", "tuned")]
        torch.testing.assert_close(value, sum(ends) / 2)
    assert list(tuned(average=0.5).candidates()) == ["tuned"]


def test_a_probe_in_the_head_gives_the_probes_logits() -> None:
    of = tuned()
    features = torch.randn(40, of.backbone.out_features, generator=torch.Generator().manual_seed(3))
    targets = (features[:, :3] > 0).float()
    probe = LinearProbe(3 * features + 2, targets, torch.ones_like(targets), 1e-2)
    of.set_head(*probe.layer())
    torch.testing.assert_close(
        of.head(3 * features + 2), probe(3 * features + 2), atol=1e-4, rtol=1e-4
    )
    with pytest.raises(ValueError, match=r"the probe has weights of \(2, "):
        of.set_head(torch.zeros(2, of.backbone.out_features), torch.zeros(2))


def test_the_state_with_copies_comes_back_from_a_checkpoint() -> None:
    one, other = tuned(probe_first=True, average=0.9), tuned(probe_first=True, average=0.9)
    step(one, 2)
    other.load_state_dict(one.state_dict())
    for mine, theirs in zip(one.candidates().values(), other.candidates().values(), strict=True):
        for name, value in mine.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name


@pytest.mark.parametrize("starts", [0, 2])
def test_the_loss_of_films_without_labels_is_that_of_the_averaged_networks_probabilities(
    starts: int,
) -> None:
    of = tuned(average=0.9, unlabelled=3, soft_weight=0.5, starts=starts).eval()
    given = batch(of)
    light, strong = given.crops
    assert (len(light), len(strong)) == (8, 3)
    assert not torch.equal(light[-3:], strong)
    network = Classifier(of.backbone, of.head)
    labelled = masked_bce(network(light[:5]), given.labels[:5], given.weights[:5])
    teacher = of.averaged.network(light[5:]).sigmoid()
    known = given.labels[5:]  # where there are further starts, the mean of their probabilities
    aims = (teacher + starts * known) / (1 + starts)
    logits = network(strong)
    soft = -(aims * logits.sigmoid().log() + (1 - aims) * (1 - logits.sigmoid()).log()).mean()
    torch.testing.assert_close(of(given), labelled + 0.5 * soft)
    hidden = given._replace(labels=torch.cat([given.labels[:5], 1 - known]))
    assert torch.equal(of(hidden), of(given)) == (starts == 0)  # labels held back are not looked at


def test_the_teacher_takes_no_gradient() -> None:
    of = tuned(average=0.9, unlabelled=3)
    before = {name: value.clone() for name, value in of.averaged.network.state_dict().items()}
    of(batch(of)).backward()
    assert all(parameter.grad is None for parameter in of.averaged.parameters())
    assert all(
        torch.equal(value, before[name]) for name, value in of.averaged.network.state_dict().items()
    )
