import numpy as np
import pytest
import timm
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from hilum.errors import OptionError
from hilum.heatmaps.gradcam import explain, layer_maps, scale_to_one

FINDINGS = [0, 2, 4]


class Classifier(nn.Module):
    def __init__(self, name: str = "resnet18") -> None:
        super().__init__()
        self.backbone = timm.create_model(name, in_chans=1, num_classes=0)
        self.head = nn.Linear(self.backbone.num_features, 5)

    def forward(self, images):
        return self.head(self.backbone(images))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    classifier = Classifier()
    with torch.no_grad():
        for _ in range(3):  # so that normalisation has seen something
            classifier(torch.randn(8, 1, 64, 64))
    return classifier.eval()


def films(count=2, side=64, seed=1):
    return torch.randn(count, 1, side, side, generator=torch.Generator().manual_seed(seed))


def hooks_left(model):
    return [
        m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks or m._backward_hooks
    ]


def theirs(model, images, layer, finding):
    with GradCAM(model=model, target_layers=[model.get_submodule(layer)]) as cam:
        cam(images, targets=[ClassifierOutputTarget(finding)] * len(images))
        maps = (
            cam.activations_and_grads.activations[0].numpy(),
            cam.activations_and_grads.gradients[0].numpy(),
        )
        weighted = cam.get_cam_image(
            images, model.get_submodule(layer), [], *maps, eigen_smooth=False
        )
        model.zero_grad()  # theirs leaves gradients behind
        return np.maximum(weighted, 0)


@pytest.mark.parametrize(
    ("layer", "side"), [("backbone.layer2", 64), ("backbone.layer3", 64), ("backbone.layer4", 64)]
)
def test_equals_pytorch_grad_cam(model, layer, side):
    ours = layer_maps(model, films(side=side), FINDINGS, layer)
    assert (ours.amax(dim=(0, 2, 3)) > 0).sum() >= 2
    for place, finding in enumerate(FINDINGS):
        expected = theirs(model, films(side=side), layer, finding)
        scale = expected.max() or 1.0
        np.testing.assert_allclose(ours[:, place].numpy() / scale, expected / scale, atol=1e-5)


def test_enlarged_maps_equal_pytorch_grad_cam_but_for_its_resampling(model):
    heat = explain(model, films(), FINDINGS).maps
    with GradCAM(model=model, target_layers=[model.backbone.layer2]) as cam:
        expected = cam(films(), targets=[ClassifierOutputTarget(2)] * 2)
        model.zero_grad()
    for ours, other in zip(heat[:, 1].numpy(), expected, strict=True):
        assert np.corrcoef(ours.ravel(), other.ravel())[0, 1] > 0.99


def test_the_closed_form_equals_the_gradient(model):
    images = films(side=224)
    closed = layer_maps(model, images, FINDINGS, "backbone.layer4")

    class Disguised(nn.Module):  # the same function, without a head to recognise
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, batch):
            return self.inner(batch)

    gradient = layer_maps(Disguised().eval(), images, FINDINGS, "inner.backbone.layer4")
    torch.testing.assert_close(closed, gradient, atol=1e-6, rtol=1e-4)


def test_the_closed_form_needs_no_backward(model):
    """A head whose backward fails shows which way was taken."""

    class NoGradient(torch.autograd.Function):
        @staticmethod
        def forward(ctx, values):
            return values.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise RuntimeError("went backward")

    class Blocked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = model.backbone, model.head

        def forward(self, images):
            return self.head(NoGradient.apply(self.backbone(images)))

    assert layer_maps(Blocked().eval(), films(side=224), FINDINGS, "backbone.layer4").shape == (
        2,
        3,
        7,
        7,
    )
    with pytest.raises(RuntimeError, match="went backward"):
        layer_maps(Blocked().eval(), films(side=224), FINDINGS, "backbone.layer3")


def test_maps_have_the_films_size_and_lie_between_0_and_1(model):
    heat = explain(model, films(3), FINDINGS)
    assert heat.maps.shape == (3, 3, 64, 64)
    assert heat.maps.dtype == torch.float32
    assert heat.maps.min() >= 0
    peaks = heat.maps.amax(dim=(2, 3))
    assert torch.equal(peaks, (heat.raw.amax(dim=(2, 3)) > 0).float())
    assert heat.note == (
        "Grad-CAM at backbone.layer2, map 8 x 8: the deepest layer with a map of at least 7 x 7 on films of 64 x 64 px"
    )


def test_a_film_is_explained_alike_alone_and_in_a_batch(model):
    together, alone = (
        explain(model, films(3), FINDINGS).raw,
        explain(model, films(3)[1:2], FINDINGS).raw,
    )
    torch.testing.assert_close(alone[0], together[1], atol=1e-6, rtol=1e-4)


def test_the_layer_can_be_named(model):
    heat = explain(model, films(), [1], layer="layer4")
    assert (heat.layer, heat.map_size) == ("backbone.layer4", (2, 2))
    assert heat.note.endswith("map 2 x 2: as asked on films of 64 x 64 px")
    with pytest.raises(OptionError, match="no layer 'layer7'"):
        explain(model, films(), [1], layer="layer7")


def test_small_films_are_enlarged_and_said_so(model):
    heat = explain(model, films(side=12), FINDINGS)
    assert heat.enlarged_to == (48, 48)
    assert heat.maps.shape == (2, 3, 12, 12)
    assert min(heat.map_size) >= 7
    assert heat.note.endswith("on films of 12 x 12 px, enlarged to 48 x 48 px to get one")


class Bright(nn.Module):
    """Finds brightness at the upper left, and nothing else."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.stage = nn.Conv2d(1, 1, 4, stride=4, bias=False)
        self.stage.weight.data.fill_(1 / 16)
        self.head = nn.Linear(1, 1)
        self.head.weight.data.fill_(weight)

    def forward(self, images):
        return self.head(torch.relu(self.stage(images)).mean(dim=(2, 3)))


def test_the_heat_lies_where_the_evidence_is():
    image = torch.zeros(1, 1, 64, 64)
    image[..., 8:16, 8:16] = 1
    heat = explain(Bright(1.0).eval(), image, [0]).maps[0, 0]
    assert heat[8:16, 8:16].mean() > 0.7
    assert heat[24:].max() == heat[:, 24:].max() == 0


def test_a_map_of_zeros_stays_zero():
    heat = explain(Bright(-1.0).eval(), torch.ones(1, 1, 64, 64), [0])
    assert torch.equal(heat.maps, torch.zeros(1, 1, 64, 64))
    assert torch.equal(scale_to_one(torch.zeros(1, 1, 2, 2)), torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("layer", [None, "layer4"])
def test_bfloat16_gives_float32_maps_close_to_the_exact(model, layer):
    exact = explain(model, films(), FINDINGS, layer).maps
    half = Classifier()
    half.load_state_dict(model.state_dict())
    half = half.eval().to(torch.bfloat16)
    for context in (torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad()):
        with context:
            coarse = explain(half, films(), FINDINGS, layer).maps
        assert coarse.dtype == torch.float32
        assert coarse.isfinite().all()
        assert (coarse - exact).abs().mean() < 0.05


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_heatmaps_inside_a_context_without_gradients(model, context):
    expected = explain(model, films(), FINDINGS).maps
    with context():
        images = films()
        assert torch.equal(explain(model, images, FINDINGS).maps, expected)


def test_nothing_is_left_behind(model):
    before = [parameter.clone() for parameter in model.parameters()]
    buffers = [buffer.clone() for buffer in model.buffers()]
    images = films()
    kept = images.clone()
    explain(model, images, FINDINGS)
    assert not hooks_left(model)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(buffers, model.buffers(), strict=True))
    assert torch.equal(images, kept)


def test_hooks_go_even_if_the_model_fails(model):
    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = model.backbone, model.head

        def forward(self, images):
            logits = self.head(self.backbone(images))
            if torch.is_grad_enabled():  # not while the layers are listed
                raise RuntimeError("lost")
            return logits

    with pytest.raises(RuntimeError, match="lost"):
        explain(Failing().eval(), films(), FINDINGS)
    assert not hooks_left(model)


@pytest.mark.parametrize("findings", [[], [5], [-1]])
def test_an_output_that_does_not_exist_is_refused(model, findings):
    with pytest.raises(ValueError, match="allowed are one or more of 0 to 4"):
        explain(model, films(), findings)
    assert not hooks_left(model)


def test_a_model_in_training_is_refused():
    with pytest.raises(ValueError, match="evaluation mode"):
        explain(Bright(1.0), films(), [0])


def test_a_backbone_without_maps_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 5)).eval()
    with pytest.raises(
        OptionError, match="no layer of this model past its first has a map of 7 x 7"
    ):
        explain(model, films(), [0])


def test_layers_that_work_in_place_do_not_spoil_the_map():
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stage = nn.Conv2d(1, 4, 4, stride=4)
            self.act = nn.ReLU(inplace=True)
            self.head = nn.Linear(4, 2)

        def forward(self, images):
            return self.head(self.act(self.stage(images)).mean(dim=(2, 3)))

    torch.manual_seed(0)
    model = InPlace().eval()
    activations = model.stage(films()).detach()
    gradients = (activations > 0).float().mean((2, 3))[:, None] * model.head.weight[None] / 256
    expected = torch.einsum("bfc,bchw->bfhw", gradients, activations).clamp(min=0)
    torch.testing.assert_close(layer_maps(model, films(), [0, 1], "stage"), expected)
