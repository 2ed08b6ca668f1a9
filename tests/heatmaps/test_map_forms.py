"""Heatmaps of networks whose maps are tokens or have their channels last."""

import pytest
import timm
import torch
from timm.models.mambaout import MambaOut
from torch import nn

from hilum.classifier.network import Classifier
from hilum.errors import OptionError
from hilum.heatmaps.gradcam import explain, layer_maps
from hilum.heatmaps.layers import Trace
from hilum.heatmaps.map_forms import FIRST, LAST, TOKENS, MapForm, possible_forms
from hilum.nn.backbones import Backbone


class Network(nn.Module):
    """A timm network with a head, behind a wrapper as the product's own."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.network = network
        self.head = nn.Linear(getattr(network, "head_hidden_size", network.num_features), 3)

    def forward(self, images):
        return self.head(self.backbone.network(images))


def vit(size=56, **options):
    kept = {"patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2, **options}
    return timm.models.VisionTransformer(img_size=size, in_chans=1, num_classes=0, **kept)


def swin(patch_size=4):
    return timm.models.SwinTransformer(
        img_size=64,
        patch_size=patch_size,
        in_chans=1,
        num_classes=0,
        embed_dim=16,
        depths=(2, 2),
        num_heads=(2, 4),
        window_size=4,
    )


def mambaout():
    return MambaOut(in_chans=1, num_classes=0, depths=(1, 1), dims=(8, 16))


def mixer():
    return timm.models.MlpMixer(
        img_size=56, in_chans=1, num_classes=0, patch_size=8, num_blocks=2, embed_dim=24
    )


def hiera():
    return timm.models.Hiera(
        img_size=(64, 64),
        in_chans=1,
        num_classes=0,
        embed_dim=16,
        num_heads=1,
        stages=(1, 1),
        q_pool=1,
        patch_kernel=(7, 7),
        patch_stride=(4, 4),
        mask_unit_size=(4, 4),
    )


def levit():
    """A LeViT whose attention prefers near places, as after training: its biases begin at 0."""
    network = timm.models.Levit(
        img_size=112,
        in_chans=1,
        num_classes=0,
        embed_dim=(16, 24),
        key_dim=8,
        depth=(1, 1),
        num_heads=(1, 2),
        stem_type="s8",
    )
    for module in network.modules():
        if hasattr(module, "attention_biases"):
            side = module.resolution[0]
            place = torch.arange(side * side)
            distance = (place // side) ** 2 + (place % side) ** 2
            module.attention_biases.data.copy_(-0.5 * distance)
    return network


NETWORKS = {
    # name: network, side of its films, layer, side of the map, form
    "class token": (vit, 56, "blocks.2.norm1", 7, MapForm(TOKENS, 7, 7, 1)),
    "registers": (lambda: vit(reg_tokens=4), 56, "blocks.2.norm1", 7, MapForm(TOKENS, 7, 7, 5)),
    "tokens pooled": (
        lambda: vit(class_token=False, global_pool="avg"),
        56,
        "norm",
        7,
        MapForm(TOKENS, 7, 7, 0),
    ),
    "mixer": (mixer, 56, "norm", 7, MapForm(TOKENS, 7, 7, 0)),
    "swin": (swin, 64, "norm", 8, MapForm(LAST, 8, 8)),
    "mambaout": (mambaout, 64, "stages", 8, MapForm(LAST, 8, 8)),
    "as many channels as rows": (mambaout, 128, "stages", 16, MapForm(LAST, 16, 16)),
    "levit": (levit, 112, "stages", 7, MapForm(TOKENS, 7, 7, 0)),
    "hiera": (hiera, 64, "blocks.1", 8, None),
}


def build(name):
    torch.manual_seed(0)
    make, side, *rest = NETWORKS[name]
    return Network(make()).eval(), side, *rest


def square(side, row, column):
    image = torch.zeros(1, 1, side, side)
    half = side // 8
    image[..., row - half : row + half, column - half : column + half] = 3.0
    return image


@pytest.mark.parametrize("name", NETWORKS)
def test_the_layer_is_of_the_last_stage_and_its_form_is_known(name):
    model, side, layer, map_side, form = build(name)
    heat = explain(model, torch.randn(2, 1, side, side), [0, 2])
    assert heat.layer == f"backbone.network.{layer}"
    assert heat.map_size == (map_side, map_side)
    assert heat.raw.shape == (2, 2, map_side, map_side)
    assert heat.raw.any()
    if form is not None:
        assert Trace(model, torch.zeros(1, 1, side, side)).form(heat.layer) == form


@pytest.mark.parametrize("name", NETWORKS)
def test_the_map_follows_a_bright_square(name):
    model, side, *_ = build(name)
    layer = explain(model, square(side, side // 2, side // 2), [0]).layer
    form = Trace(model, square(side, side // 2, side // 2)).form(layer)
    outputs = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda _, __, output: outputs.append(form.to_map(form.tensor(output).detach())[0])
    )
    with torch.no_grad():
        film = torch.randn(1, 1, side, side)
        model(film)
        for row in (side // 4, 3 * side // 4):
            for column in (side // 4, 3 * side // 4):
                model(film + square(side, row, column))
                change = (outputs.pop() - outputs[0]).square().sum(0)
                height, width = change.shape[0] // 2, change.shape[1] // 2
                quarters = {
                    (side // 4, side // 4): change[:height, :width],
                    (side // 4, 3 * side // 4): change[:height, -width:],
                    (3 * side // 4, side // 4): change[-height:, :width],
                    (3 * side // 4, 3 * side // 4): change[-height:, -width:],
                }
                assert max(quarters, key=lambda place: quarters[place].sum()) == (row, column)
    handle.remove()


@pytest.mark.parametrize("name", ["class token", "swin", "hiera"])
def test_heatmaps_of_tokens_are_repeatable_and_leave_no_hook(name):
    model, side, *_ = build(name)
    images = torch.randn(2, 1, side, side)
    first, second = explain(model, images, [1]), explain(model, images, [1])
    assert torch.equal(first.maps, second.maps)
    alone = explain(model, images[1:], [1])
    torch.testing.assert_close(alone.raw[0], first.raw[1], atol=1e-6, rtol=1e-4)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_layer_whose_places_no_score_reads_is_refused():
    model, side, *_ = build("class token")
    with pytest.raises(OptionError, match=r"no score depends on the places of .*blocks\.2"):
        explain(model, torch.randn(1, 1, side, side), [0], layer="blocks.2")
    assert explain(model, torch.randn(1, 1, side, side), [0], layer="blocks.0").map_size == (7, 7)


@pytest.mark.parametrize(
    ("network", "side"),
    [
        (lambda: vit(depth=1), 56),  # only the embedding could give a map
        (lambda: vit(size=32), 32),  # 4 x 4 places, and of one size
    ],
)
def test_a_network_without_a_map_past_its_embedding_is_refused_in_one_line(network, side):
    with pytest.raises(OptionError, match="no layer of this model past its first") as refused:
        explain(Network(network()).eval(), torch.randn(1, 1, side, side), [0])
    assert "\n" not in str(refused.value)


def test_a_network_that_takes_larger_films_gets_them_enlarged():
    model = Network(vit(size=32, dynamic_img_size=True)).eval()
    heat = explain(model, torch.randn(1, 1, 32, 32), [0])
    assert (heat.enlarged_to, heat.map_size) == ((64, 64), (8, 8))
    assert heat.maps.shape[-2:] == (32, 32)


@pytest.mark.parametrize(
    ("shape", "film", "forms"),
    [
        ((1, 96, 7, 7), (64, 64), [(FIRST, 7, 7, 0)]),
        ((1, 7, 7, 96), (64, 64), [(LAST, 7, 7, 0)]),
        ((1, 8, 8, 8), (64, 64), [(FIRST, 8, 8, 0), (LAST, 8, 8, 0)]),
        ((1, 8, 16, 32), (64, 128), [(FIRST, 16, 32, 0), (LAST, 8, 16, 0)]),
        ((1, 198, 8), (64, 64), [(TOKENS, 14, 14, 2)]),
        ((1, 261, 8), (64, 64), [(TOKENS, 16, 16, 5)]),
        ((1, 129, 8), (64, 128), [(TOKENS, 8, 16, 1)]),
        ((4, 49, 8), (64, 64), []),  # windows
        ((1, 80, 8), (64, 64), []),
        ((1, 96), (64, 64), []),
    ],
)
def test_forms_are_read_from_shapes(shape, film, forms):
    read = possible_forms(torch.empty(shape), film)
    assert [(form.order, form.rows, form.columns, form.prefix) for form in read] == forms


def test_the_first_map_among_several_outputs_is_taken_and_replaced():
    output = (torch.zeros(4, 16, 8), torch.zeros(1, 50, 8), (7, 7))
    (form,) = possible_forms(output, (64, 64))
    assert (form.item, form.prefix) == (1, 1)
    changed = form.replaced(output, torch.ones(1, 50, 8))
    assert changed[0] is output[0]
    assert changed[2] == (7, 7)
    assert changed[1].all()


def test_the_products_classifier_of_a_small_vit_and_a_mambaout():
    for name, layer in (("test_vit", "blocks.5.norm1"), ("test_mambaout", "stages.1")):
        backbone = Backbone(name, 64)
        model = Classifier(backbone, nn.Linear(backbone.out_features, 2)).eval()
        heat = explain(model, torch.randn(1, 1, 64, 64), [0, 1])
        assert heat.layer == f"backbone.network.{layer}"
        assert heat.maps.shape == (1, 2, 64, 64)


class ReadsTwoPlaces(nn.Module):
    """Tokens of 8 x 8 places whose score rises with one place and falls with another."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, 3, 8, stride=8)
        self.norm = nn.LayerNorm(3)

    def forward(self, images):
        tokens = self.norm(self.embed(images).flatten(2).movedim(1, 2))  # [B, 64, 3]
        return (tokens[:, 19, :1] - tokens[:, 40, :1]) * 2


def test_a_norm_of_tokens_is_weighed_by_the_gradient_of_each_place():
    torch.manual_seed(0)
    model, films = ReadsTwoPlaces().eval(), torch.rand(2, 1, 64, 64)
    raw = layer_maps(model, films, [0], "norm", MapForm(TOKENS, 8, 8))
    first = model.norm(model.embed(films).flatten(2).movedim(1, 2))[..., 0].detach()  # [B, 64]
    expected = torch.zeros(2, 64)
    expected[:, 19], expected[:, 40] = 2 * first[:, 19], -2 * first[:, 40]
    expected.clamp_(min=0)
    torch.testing.assert_close(raw[:, 0].flatten(1), expected)  # a mean gradient is 0 everywhere


@pytest.mark.parametrize("name", ["class token", "registers"])
def test_a_named_block_keeps_the_mean_gradient(name):
    model, side, *_ = build(name)
    films = torch.randn(2, 1, side, side)
    heat = explain(model, films, [1], layer="blocks.1")
    form, caught = Trace(model, films[:1]).form(heat.layer), []
    handle = model.get_submodule(heat.layer).register_forward_hook(caught_copy(caught))
    (gradient,) = torch.autograd.grad(model(films)[:, 1].sum(), caught)
    handle.remove()
    weights = form.to_map(gradient).mean(dim=(2, 3), keepdim=True)
    expected = (weights * form.to_map(caught[0].detach())).sum(dim=1).clamp(min=0)
    torch.testing.assert_close(heat.raw[:, 0], expected, atol=1e-6, rtol=1e-3)


def caught_copy(into):
    def keep(_, __, output):
        into.append(output.detach().requires_grad_())
        return into[-1] * 1

    return keep


def test_maps_of_other_forms_keep_the_mean_gradient():
    model, side, *_ = build("swin")
    films = torch.randn(1, 1, side, side)
    form = Trace(model, films).form("backbone.network.layers.0")
    caught = []
    layer = model.get_submodule("backbone.network.layers.0")
    handle = layer.register_forward_hook(caught_copy(caught))
    (gradient,) = torch.autograd.grad(model(films)[:, 0].sum(), caught)
    handle.remove()
    weights = form.to_map(gradient).mean(dim=(2, 3), keepdim=True)
    expected = (weights * form.to_map(caught[0].detach())).sum(dim=1).clamp(min=0)
    raw = layer_maps(model, films, [0], "backbone.network.layers.0", form)
    torch.testing.assert_close(raw[:, 0], expected, atol=1e-6, rtol=1e-3)
