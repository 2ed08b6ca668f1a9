"""What outputs mean: three of them fold into one, cells find their loss, and outputs start at the classes' shares."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hilum.classifier.objective import Objective, class_counts, class_weights
from hilum.classifier.options import LossOptions
from hilum.errors import OptionError
from hilum.losses.class_weights import effective_number_weights, positive_weights
from hilum.losses.classification import binary_cells, masked_bce, softmax_cells

TARGETS = torch.tensor([[1.0, 2.0, 0.0, 1.0], [0.0, 1.0, 0.7, 2.0], [1.0, 0.0, 1.0, 0.0]])
WEIGHTS = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]])
MULTICLASS = (1, 3)


def outputs(columns: int) -> torch.Tensor:
    return torch.randn(3, columns, generator=torch.Generator().manual_seed(0))


def test_without_a_third_class_it_is_the_masked_cross_entropy() -> None:
    objective, given, targets = Objective(4), outputs(4), TARGETS.clamp(max=1)
    assert objective.outputs == 4
    assert torch.equal(objective(given, targets, WEIGHTS), masked_bce(given, targets, WEIGHTS))
    head = nn.Linear(3, 4)
    assert objective.fold(head) is head


def test_each_cell_costs_what_its_kind_says() -> None:
    objective, given = Objective(4, MULTICLASS), outputs(8)
    assert objective.outputs == 8
    total = 0.0
    for film in range(3):
        for finding in range(4):
            logit = given[film, finding].view(1, 1)
            if finding in MULTICLASS:
                place = MULTICLASS.index(finding)
                triple = torch.stack(
                    [given[film, 4 + place], given[film, finding], given[film, 6 + place]]
                )
                cell = softmax_cells(triple.view(1, 1, 3), TARGETS[film, finding].view(1, 1))
            else:
                cell = binary_cells(logit, TARGETS[film, finding].view(1, 1))
            total += float(WEIGHTS[film, finding] * cell)
    assert float(objective(given, TARGETS, WEIGHTS)) == pytest.approx(total / 11, abs=1e-6)


def test_folding_gives_present_against_absent() -> None:
    objective = Objective(4, MULTICLASS)
    head = nn.Linear(5, objective.outputs)
    features = torch.randn(6, 5)
    raw, folded = head(features), objective.fold(head)(features)
    assert folded.shape == (6, 4)
    torch.testing.assert_close(folded[:, [0, 2]], raw[:, [0, 2]])
    for place, finding in enumerate(MULTICLASS):
        triple = torch.stack([raw[:, 4 + place], raw[:, finding], raw[:, 6 + place]], 1).softmax(1)
        torch.testing.assert_close(
            torch.sigmoid(folded[:, finding]), triple[:, 1] / (triple[:, 0] + triple[:, 1])
        )


def test_uncertain_cells_move_the_third_output_alone_between_present_and_absent() -> None:
    objective = Objective(1, (0,))
    given = torch.zeros(1, 3, requires_grad=True)
    objective(given, torch.tensor([[2.0]]), torch.ones(1, 1)).backward()
    present, absent, uncertain = given.grad[0].tolist()
    assert present == pytest.approx(absent)
    assert uncertain < 0 < present


def test_outputs_start_at_the_shares_of_the_classes() -> None:
    objective = Objective(4, MULTICLASS)
    counts = class_counts(TARGETS.repeat(400, 1), WEIGHTS.repeat(400, 1))
    torch.testing.assert_close(counts[1], torch.tensor([400.0, 400.0, 400.0]))
    torch.testing.assert_close(counts[2], torch.tensor([520.0, 680.0, 0.0]))
    torch.testing.assert_close(counts[0], torch.tensor([400.0, 400.0, 0.0]))
    bias = objective.first_bias(counts)
    assert torch.sigmoid(bias[2]).item() == pytest.approx(680 / 1200, abs=1e-3)
    triple = torch.stack([bias[5], bias[3], bias[7]]).softmax(0)
    torch.testing.assert_close(triple, counts[3] / counts[3].sum(), atol=2e-3, rtol=0)


def test_nothing_but_the_labels_is_in_its_state() -> None:
    weighed = torch.ones(4, 3)
    assert not Objective(4, MULTICLASS, class_weights=weighed).state_dict()


@pytest.mark.parametrize("name", ["bce", "focal"])
def test_class_weights_reach_every_cell(name: str) -> None:
    options, weighed = LossOptions(name=name), torch.full((4, 3), 3.0)  # type: ignore[arg-type]
    plain, heavy = (Objective(4, MULTICLASS, options, weights) for weights in (None, weighed))
    torch.testing.assert_close(
        heavy(outputs(8), TARGETS, WEIGHTS), 3 * plain(outputs(8), TARGETS, WEIGHTS)
    )


def test_options_choose_the_class_weights() -> None:
    counts = torch.tensor([[90.0, 10.0, 0.0], [50.0, 20.0, 30.0]])
    assert class_weights(LossOptions(), counts) is None
    balanced = class_weights(LossOptions(positive_weight="balanced"), counts)
    torch.testing.assert_close(balanced, positive_weights(counts))
    torch.testing.assert_close(
        class_weights(LossOptions(positive_weight=4), counts)[:, 1], torch.full((2,), 4.0)
    )
    torch.testing.assert_close(
        class_weights(LossOptions(beta=0.9), counts), effective_number_weights(counts, 0.9)
    )


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"gamma": -1.0}, "--loss.gamma is -1.0"),
        ({"alpha": 1.0}, "--loss.alpha is 1.0"),
        ({"beta": 1.0}, "--loss.beta is 1.0"),
        ({"beta": float("nan")}, "--loss.beta is nan"),
        ({"positive_weight": 0.0}, "--loss.positive-weight is 0.0"),
        (
            {"positive_weight": "some"},
            "--loss.positive-weight is some: allowed are none, balanced or a number above 0",
        ),
        ({"positive_weight": "balanced", "beta": 0.9}, "both weigh the classes: give one"),
    ],
)
def test_mistakes_are_one_line(options: dict[str, object], line: str) -> None:
    with pytest.raises(OptionError, match=line) as caught:
        LossOptions(**options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["bce", "focal"])
def test_the_loss_is_float32_under_autocast_and_on_half_outputs(name: str) -> None:
    options, weighed = LossOptions(name=name), torch.full((4, 3), 2.0)  # type: ignore[arg-type]
    for multiclass in ((), MULTICLASS):
        objective = Objective(4, multiclass, options, weighed)
        given, targets = (
            outputs(objective.outputs).bfloat16(),
            TARGETS if multiclass else TARGETS.clamp(max=1),
        )
        with torch.autocast("cpu", torch.bfloat16):
            loss = objective(given, targets, WEIGHTS)
        assert loss.dtype == torch.float32
        assert torch.equal(loss, objective(given.float(), targets, WEIGHTS))
