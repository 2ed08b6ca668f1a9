"""Backbones: timm's names, one channel, and films brought to a size that the network takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hilum.bundle.initialization import enlarging, new_backbone
from hilum.errors import OptionError
from hilum.nn.backbones import Backbone
from hilum.nn.heads import mlp


@pytest.mark.parametrize(
    ("name", "size", "resized"),
    [
        ("resnet10t", 32, None),
        ("test_efficientnet_gn", 32, None),
        ("densenet121", 64, None),
        ("convnext_atto", 48, None),
        ("vit_tiny_patch16_224", 64, 224),  # takes one size
        ("vit_tiny_patch16_224", 224, None),
        ("vit_tiny_patch16_224", 256, 224),
        ("swin_tiny_patch4_window7_224", 64, 224),  # has buffers that are not saved
        ("coat_tiny", 64, 224),  # has tied weights
    ],
)
def test_takes_one_channel_at_any_size(name: str, size: int, resized: int | None) -> None:
    backbone = Backbone(name, size).eval()
    assert backbone.input_size == resized
    with torch.inference_mode():
        features = backbone(torch.randn(2, 1, size, size))
    assert features.shape == (2, backbone.out_features)
    assert features.isfinite().all()


def test_inception_gets_small_films_enlarged_with_a_line_saying_so() -> None:
    backbone = Backbone("inception_v3", 64).eval()
    assert backbone.input_size == 75
    (line,) = enlarging(backbone, 64)
    assert "inception_v3 cannot take 64 px" in line
    assert "enlarged to 75 px" in line
    films = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        assert backbone.fit(films).shape == (1, 1, 75, 75)
        assert backbone.fit(torch.zeros(1, 1, 128, 128)).shape == (1, 1, 128, 128)
        assert torch.equal(backbone(films), backbone.network(backbone.fit(films)))
    assert enlarging(Backbone("resnet10t", 64), 64) == ()


@pytest.mark.parametrize(("name", "hint"), [("resnet5O", "resnet50"), ("nonsense-of-nobody", "")])
def test_an_unknown_name_is_one_line_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(OptionError, match="unknown backbone") as caught:
        Backbone(name, 64)
    assert name in str(caught.value)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_tag_is_one_line() -> None:
    with pytest.raises(OptionError, match=r"backbone 'resnet18\.nobodys' cannot be built"):
        Backbone("resnet18.nobodys", 64)


def test_random_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = new_backbone("test_resnet", 32, seed=4)
    assert torch.equal(torch.rand(3), expected)
    again, other = new_backbone("test_resnet", 32, seed=4), new_backbone("test_resnet", 32, seed=5)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )
    assert not all(
        torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True)
    )


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_projector_is_two_layers(batch_norm: bool) -> None:
    head = mlp(6, 5, 3, batch_norm=batch_norm)
    assert head(torch.randn(4, 6)).shape == (4, 3)
    assert [type(part) for part in head if isinstance(part, nn.BatchNorm1d)] == [
        nn.BatchNorm1d
    ] * batch_norm
    assert (head[0].bias is None) == batch_norm


def test_stages_above_are_counted_from_the_output() -> None:
    above = new_backbone("resnet10t", 32, 0).stages_above()
    ends = {name.split(".")[1]: number for name, number in above.items()}
    assert ends == {"conv1": 4, "bn1": 4, "layer1": 3, "layer2": 2, "layer3": 1, "layer4": 0}


@pytest.mark.parametrize("name", ["test_efficientnet_gn", "convnext_atto", "vit_tiny_patch16_224"])
def test_every_parameter_has_a_stage(name: str) -> None:
    backbone = new_backbone(name, 64, 0)
    above = backbone.stages_above()
    assert set(above) == {name for name, _ in backbone.named_parameters()}
    assert min(above.values()) == 0
    assert max(above.values()) >= 3
