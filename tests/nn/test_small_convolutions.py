import copy

import pytest
import timm
import torch
from timm.layers import ScaledStdConv2d, StdConv2d
from torch import nn

from hilum.nn.small_convolutions import MOST_PLACES, multiply_small_convolutions


def convolution(kernel=3, stride=2, padding=None, **more) -> nn.Conv2d:
    torch.manual_seed(0)
    padding = kernel // 2 if padding is None else padding
    return nn.Conv2d(8, 6, kernel, stride=stride, padding=padding, **more)


def both(plain: nn.Module) -> tuple[nn.Module, nn.Module]:
    product = copy.deepcopy(plain)
    multiply_small_convolutions(product)
    return plain.train(), product.train()


def output_and_gradients(network: nn.Module, maps: torch.Tensor) -> list[torch.Tensor]:
    maps = maps.clone().requires_grad_()
    output = network(maps)
    weights = torch.linspace(-1, 1, output.numel()).view_as(output)
    (output.float() * weights).sum().backward()
    return [output, maps.grad, *(weight.grad for weight in network.parameters())]


@pytest.mark.parametrize("kernel", [2, 3, 5, (1, 3)])
@pytest.mark.parametrize("stride", [1, (1, 2)])
@pytest.mark.parametrize("side", [1, 3, (2, 5)])
@pytest.mark.parametrize("padding", [0, (2, 1)])
def test_a_small_map_gives_the_same_output_and_gradients(kernel, stride, side, padding):
    plain, product = both(convolution(kernel, stride, padding))
    height, width = (side, side) if isinstance(side, int) else side
    maps = torch.randn(3, 8, height, width)
    try:
        expected = output_and_gradients(plain, maps)
    except RuntimeError:  # the kernel is larger than the padded map
        with pytest.raises(RuntimeError):
            product(maps)
        return
    for ours, torchs in zip(output_and_gradients(product, maps), expected, strict=True):
        torch.testing.assert_close(ours, torchs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sides", [(2, 2), (1, 2), (3, 5)])
def test_gradients_of_several_maps_lie_in_memory_as_the_weights(sides):
    _, product = both(convolution().to(memory_format=torch.channels_last))
    layouts = []
    product.weight.register_hook(lambda gradient: layouts.append(gradient.stride()))
    torch.stack([product(torch.randn(2, 8, side, side)).sum() for side in sides]).sum().backward()
    assert layouts == [product.weight.stride()]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("side", [1, 2, 3])
def test_bfloat16_gives_that_of_float32_coarser_and_no_gradient_where_nothing_is_seen(side, bias):
    plain, product = both(convolution(bias=bias))
    maps = torch.randn(4, 8, side, side).bfloat16().float()
    expected = output_and_gradients(plain, maps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = output_and_gradients(product, maps)
    assert found[0].dtype == torch.bfloat16
    for ours, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.float(), exact, atol=0.15, rtol=0.03)
    if side == 1:
        outer = torch.ones(3, 3, dtype=torch.bool)
        outer[1, 1] = False
        assert not product.weight.grad[:, :, outer].any()


@pytest.mark.parametrize(
    "name", ["resnet10t", "resnet18", "mobilenetv3_small_050", "convnext_atto"]
)
def test_a_network_trains_alike_and_keeps_its_names(name):
    plain, product = both(timm.create_model(name, num_classes=0, in_chans=1, drop_path_rate=0.0))
    assert list(plain.state_dict()) == list(product.state_dict())
    assert sum(type(module) is not nn.Conv2d for module in product.modules()) >= sum(
        type(module) is not nn.Conv2d for module in plain.modules()
    )
    films = torch.randn(4, 1, 64, 64)
    for ours, torchs in zip(
        output_and_gradients(product, films), output_and_gradients(plain, films), strict=True
    ):
        torch.testing.assert_close(ours, torchs, atol=2e-3, rtol=2e-3)


def test_evaluation_and_larger_maps_run_as_torch_has_it():
    plain, product = both(convolution(3, 1))
    side = int(MOST_PLACES**0.5) + 1
    large, small = torch.randn(2, 8, side, side), torch.randn(2, 8, 2, 2)
    assert torch.equal(product(large), plain(large))
    assert torch.equal(product.eval()(small), plain(small))


@pytest.mark.parametrize(
    "unusual",
    [
        {"dilation": 2},
        {"padding_mode": "reflect"},
        {"padding": "valid"},
        {"groups": 2},
        {"kernel_size": 1},
    ],
)
def test_unusual_convolutions_stay_as_they_are(unusual):
    network = nn.Sequential(nn.Conv2d(8, 6, **{"kernel_size": 3, "padding": 1, **unusual}))
    multiply_small_convolutions(network)
    assert type(network[0]) is nn.Conv2d


@pytest.mark.parametrize(
    "unusual",
    [nn.Conv2d(8, 8, 3, 2, 1, groups=2), ScaledStdConv2d(8, 8, 3, 2, 1), StdConv2d(8, 8, 3, 2, 1)],
    ids=["groups", "scaled", "standardised"],
)
def test_what_no_product_computes_leaves_autocast_over_a_map_of_one_place(unusual):
    plain, guarded = both(unusual)
    maps = torch.randn(4, 8, 1, 1).bfloat16().float()
    expected = output_and_gradients(plain, maps)
    after = nn.Linear(8, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = output_and_gradients(guarded, maps)
        assert found[0].dtype == torch.float32
        assert guarded(torch.randn(4, 8, 2, 2)).dtype == torch.bfloat16
        assert after(found[0].mean((2, 3))).dtype == torch.bfloat16  # autocast goes on behind it
    for ours, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, exact)


def test_autocast_is_restored_where_the_convolution_fails():
    _, guarded = both(convolution(groups=2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(RuntimeError):
            guarded(torch.randn(4, 3, 1, 1))
        assert torch.is_autocast_enabled("cpu")
