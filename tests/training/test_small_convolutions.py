import pytest
import torch
from torch import nn

from hilum.training.small_convolutions import compute_small_convolutions_in_float32


def small_network(kernel=3, stride=2) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(8, 8, kernel, stride=stride, padding=kernel // 2, bias=False)


@pytest.mark.parametrize(
    ("kernel", "stride", "side", "dtype"),
    [
        (3, 2, 1, torch.float32),
        (3, 1, 1, torch.float32),
        (5, 2, 1, torch.float32),
        (1, 1, 1, torch.bfloat16),  # has no outer entries
        (3, 2, 2, torch.bfloat16),
    ],
)
def test_a_convolution_over_a_map_of_one_place_leaves_autocast(kernel, stride, side, dtype):
    convolution = small_network(kernel, stride)
    compute_small_convolutions_in_float32(convolution)
    after = nn.Linear(8, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = convolution(torch.randn(4, 8, side, side))
        assert after(output.mean((2, 3))).dtype == torch.bfloat16  # autocast goes on behind it
    assert output.dtype == dtype


def test_its_gradient_equals_that_of_float32():
    plain, guarded = small_network(), small_network()
    compute_small_convolutions_in_float32(guarded)
    images = torch.randn(4, 8, 1, 1)
    plain(images).sum().backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        guarded(images.bfloat16().float()).sum().backward()
    outer = torch.ones(3, 3, dtype=torch.bool)
    outer[1, 1] = False
    assert not guarded.weight.grad[:, :, outer].any()
    torch.testing.assert_close(guarded.weight.grad, plain.weight.grad, atol=0.05, rtol=0.02)


def test_autocast_is_restored_where_the_convolution_fails():
    convolution = small_network()
    compute_small_convolutions_in_float32(convolution)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(RuntimeError):
            convolution(torch.randn(4, 3, 1, 1))
        assert torch.is_autocast_enabled("cpu")
