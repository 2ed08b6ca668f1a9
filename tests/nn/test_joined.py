"""Networks side by side: the features of each, unchanged, and one map of all for the heatmaps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hilum.classifier.network import Classifier
from hilum.errors import OptionError
from hilum.heatmaps.gradcam import explain
from hilum.nn.backbones import Backbone
from hilum.nn.joined import JoinedNetwork, SideBySide, parts_of

BOTH = "resnet10t+tf_efficientnet_lite0@128"


def joined(name: str, size: int) -> JoinedNetwork:
    network = Backbone(name, size).eval().network
    assert isinstance(network, JoinedNetwork)
    return network


def test_the_features_are_those_of_each_network_side_by_side() -> None:
    network = joined(BOTH, 64)
    films = torch.randn(3, 1, 64, 64)
    large = nn.functional.interpolate(films, size=(128, 128), mode="bilinear", align_corners=False)
    with torch.inference_mode():
        features = network(films)
        alone = Backbone("resnet10t", 64).eval()
        alone.network.load_state_dict(network.parts[0].state_dict())
        other = network.parts[1].forward_intermediates(  # type: ignore[operator]
            large, indices=1, intermediates_only=True
        )[0]
        assert torch.allclose(features[:, :512], alone(films), atol=1e-6)
    assert torch.allclose(features[:, 512:], other.mean((2, 3)), atol=1e-6)
    assert not torch.allclose(features[0], features[1])


def test_what_lies_behind_the_last_map_is_left_out() -> None:
    names = joined(BOTH, 64).state_dict()
    assert not [name for name in names if "conv_head" in name or "classifier" in name]
    assert Backbone(BOTH, 64).out_features == 512 + 320


@pytest.mark.parametrize(("one", "other"), [((2, 2), (4, 4)), ((3, 3), (5, 5)), ((2, 3), (3, 2))])
def test_maps_of_other_grids_keep_their_means(one: tuple[int, int], other: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, *one), torch.randn(2, 4, *other)
    together = SideBySide()(maps)
    means = torch.cat([part.mean((2, 3)) for part in maps], dim=1)
    assert torch.allclose(together.mean((2, 3)), means, atol=1e-6)


def test_a_network_of_one_size_gets_films_of_that_size_and_the_others_their_own() -> None:
    backbone = Backbone("test_resnet+test_vit", 64).eval()
    network = backbone.network
    assert isinstance(network, JoinedNetwork)
    assert network.sides == (None, 160)
    for side in (64, 200):
        assert backbone(torch.randn(2, 1, side, side)).shape == (2, backbone.out_features)


def test_a_heatmap_is_of_all_networks_and_not_of_one() -> None:
    backbone = Backbone("test_resnet+test_efficientnet@128", 64)
    model = Classifier(backbone, nn.Linear(backbone.out_features, 2)).eval()
    found = explain(model, torch.randn(2, 1, 64, 64), [0, 1])
    assert found.layer == "backbone.network.maps"
    with torch.no_grad():
        model.head.weight[:, : Backbone("test_resnet", 64).out_features] = 0
    other = explain(model, torch.randn(2, 1, 64, 64), [0, 1])
    assert other.raw.any()


def test_a_name_of_one_network_with_a_size_is_that_network_enlarged() -> None:
    assert parts_of("resnet18@96") == [("resnet18", 96)]
    assert joined("test_resnet@96", 32).sides == (96,)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("resnet10t+resnet1O", "unknown backbone 'resnet1O'"),
        ("resnet10t+", "cannot be joined"),
        ("resnet10t+resnet18@large", "cannot be joined"),
        ("resnet10t@64@64", "cannot be joined"),
    ],
)
def test_a_name_that_is_none_is_refused_in_one_line(name: str, line: str) -> None:
    with pytest.raises(OptionError, match=line) as caught:
        Backbone(name, 64)
    assert "\n" not in str(caught.value)
