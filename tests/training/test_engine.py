"""What a model is given and computes under each precision."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from hilum.training.distributed import Team
from hilum.training.engine import launch
from hilum.training.options import TrainOptions

GIVEN = {
    "soft label": torch.tensor([0.9]),
    "weight of a cell": torch.tensor([257.0]),
    "row": torch.tensor([70_001]),
    "films": torch.tensor([255], dtype=torch.uint8),
}


class Keeps(nn.Module):
    """Notes what reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: dict[str, Tensor] = {}

    def forward(self, cells: dict[str, Tensor], pair: tuple[Tensor, ...]) -> Tensor:
        self.seen = {**cells, "in a tuple": pair[0]}
        computed: Tensor = self.layer(torch.ones(2, 1))
        self.computed = computed
        return computed


@pytest.mark.parametrize(
    ("precision", "inside"), [("32", torch.float32), ("bf16-mixed", torch.bfloat16)]
)
def test_labels_and_weights_reach_the_model_as_they_are(
    precision: Literal["32", "bf16-mixed"], inside: torch.dtype
) -> None:
    options = TrainOptions(accelerator="cpu", precision=precision)
    model = Keeps()
    fabric = launch(options, Team())
    wrapped = fabric.setup(model)
    output = wrapped(GIVEN, (GIVEN["soft label"],))
    expected = {**GIVEN, "in a tuple": GIVEN["soft label"]}
    for name, value in expected.items():
        assert model.seen[name].dtype == value.dtype, name
        assert torch.equal(model.seen[name], value), name
    assert model.computed.dtype == inside
    assert output.dtype == torch.float32
    assert model.layer.weight.dtype == torch.float32
