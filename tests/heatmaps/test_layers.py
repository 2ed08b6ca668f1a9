import pytest
import timm
import torch
from torch import nn

from hilum.errors import OptionError
from hilum.heatmaps.layers import Trace


class Classifier(nn.Module):
    """A timm network behind a wrapper, as the product's own."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.network = timm.create_model(name, in_chans=1, num_classes=0)
        network = self.backbone.network
        self.head = nn.Linear(getattr(network, "head_hidden_size", network.num_features), 3)

    def forward(self, images):
        return self.head(self.backbone.network(images))


def trace(name: str, size: int) -> Trace:
    return Trace(Classifier(name).eval(), torch.zeros(1, 1, size, size))


@pytest.mark.parametrize(
    ("name", "size", "layer", "side"),
    [
        ("resnet18", 224, "layer4", 7),
        ("resnet18", 64, "layer2", 8),  # not layer3.0.conv1, which still has 8 x 8 in a bottleneck
        ("resnet50", 64, "layer2", 8),
        ("resnet18", 28, "layer1", 7),
        ("densenet121", 64, "features.transition2.conv", 8),
        ("efficientnet_lite0", 64, "blocks.2", 8),
        ("efficientnet_lite0", 224, "bn2", 7),
        ("convnext_atto", 64, "stages.1", 8),
        ("mobilenetv3_small_050", 96, "blocks.1", 12),
        ("inception_v3", 75, "Mixed_5d", 7),
    ],
)
def test_the_deepest_map_of_at_least_7_on_the_main_path(name, size, layer, side):
    found = trace(name, size)
    assert found.fine_layers()[0] == f"backbone.network.{layer}"
    assert found.map_size(found.fine_layers()[0]) == (side, side)


def test_stems_do_not_count():
    small = trace("resnet18", 16)  # its first convolution has 8 x 8
    assert small.fine_layers() == []
    assert "backbone.network.conv1" in small.main_path()


def test_maps_of_films_that_are_not_square():
    model = Classifier("resnet18").eval()
    found = Trace(model, torch.zeros(1, 1, 64, 128))
    assert found.fine_layers()[0] == "backbone.network.layer2"
    assert found.map_size("backbone.network.layer2") == (8, 16)


def test_a_layer_is_named_in_full_or_by_its_end():
    found = trace("resnet18", 64)
    assert (
        found.named("layer3") == found.named("backbone.network.layer3") == "backbone.network.layer3"
    )


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            "layer9",
            "no layer 'layer9' gives maps: allowed are such as .*layer4.* Did you mean 'layer",
        ),
        ("conv1", "layer 'conv1' is ambiguous: name one of "),
        ("head", "no layer 'head' gives maps"),
        ("", "no layer '' gives maps"),
    ],
)
def test_a_layer_that_is_none_is_refused(layer, message):
    with pytest.raises(OptionError, match=message):
        trace("resnet18", 64).named(layer)


def test_a_module_called_twice_is_no_layer():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stage = nn.Conv2d(1, 4, 3, stride=4, padding=1)
            self.shared = nn.ReLU()

        def forward(self, images):
            return self.shared(self.shared(self.stage(images)) - 0.1).mean((2, 3))

    assert Trace(Twice().eval(), torch.zeros(1, 1, 32, 32)).fine_layers()[0] == "stage"


def test_tracing_leaves_no_hook_even_if_the_model_fails():
    model = Classifier("resnet18").eval()
    with pytest.raises(RuntimeError):
        Trace(model, torch.zeros(1, 3, 64, 64))
    assert not any(module._forward_hooks for module in model.modules())
