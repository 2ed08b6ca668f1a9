"""Which layer is a heatmap taken from, and does it lie where the film says? Over timm's families.

For each network, with random weights and batch norms that have seen such films, films of faint noise
are compared with the same films with a bright square in each of four quarters.

``followed``: in how many quarters the change of the layer's map, summed over channels and films, is
largest in the square's quarter. A map whose places were read in a wrong order does not follow. One
film is too few for LeViT: into its last stages leads no path but attention, whose biases, which
make near places count more, are 0 before training; with one film of strong noise the change lay
in a wrong quarter once in four with two seeds of four, with such biases set by hand never.

``pointed``: in how many quarters the square raises the heatmap most in its own quarter, where the
head is made by hand: its weights are what the square changes in the features, in the mean over
quarters and films, so that the score says "there is a square" and not where. Beside four
quarters followed a miss lies in the weights of the channels, not in the places.

The layer must also not be a stem or patch embedding, two calls must give equal maps, and no hook
may stay.

``python benchmarks/heatmap_layers.py [NAME ...] [--json]``; about 10 seconds a network on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import torch
from torch import nn

from hilum.classifier.network import Classifier
from hilum.errors import OptionError
from hilum.heatmaps.gradcam import _caught, explain
from hilum.heatmaps.layers import Trace
from hilum.nn.backbones import Backbone

NETWORKS = [
    "test_vit",
    "test_vit2",
    "test_vit3",
    "test_vit4",
    "test_mambaout",
    "test_convnext",
    "test_convnext2",
    "test_byobnet",
    "test_efficientnet",
    "test_resnet",
    "test_nfnet",
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "vit_small_patch14_reg4_dinov2",
    "eva02_tiny_patch14_224",
    "beit_base_patch16_224",
    "swin_tiny_patch4_window7_224",
    "swinv2_cr_tiny_ns_224",
    "swinv2_tiny_window8_256",
    "mambaout_femto",
    "levit_128s",
    "levit_conv_128s",
    "hiera_tiny_224",
    "mixer_s16_224",
    "gmixer_12_224",
    "resmlp_12_224",
    "gmlp_ti16_224",
    "maxvit_rmlp_pico_rw_256",
    "coatnet_nano_rw_224",
    "pvt_v2_b0",
    "poolformer_s12",
    "efficientformer_l1",
    "efficientformerv2_s0",
    "xcit_nano_12_p16_224",
    "cait_xxs24_224",
    "tiny_vit_5m_224",
    "fastvit_t8",
    "mobilevit_xxs",
    "mobilevitv2_050",
    "regnetx_002",
    "densenet121",
    "inception_v3",
    "legacy_xception",
    "resnet18",
    "efficientnet_b0",
    "vgg11",
    "convmixer_768_32",
    "crossvit_tiny_240",
    "pit_ti_224",
    "tnt_s_legacy_patch16_224",
    "twins_svt_small",
    "twins_pcpvt_small",
    "visformer_tiny",
    "volo_d1_224",
    "mvitv2_tiny",
    "convit_tiny",
    "coat_lite_tiny",
    "edgenext_xx_small",
    "davit_tiny",
    "gcvit_xxtiny",
    "focalnet_tiny_srf",
    "nest_tiny",
    "sequencer2d_s",
    "hrnet_w18_small",
    "repvit_m0_9",
    "ghostnet_050",
    "mobilenetv3_small_050",
    "efficientvit_b0",
    "efficientvit_m0",
]


FILMS = 4
"""Films of noise."""


def square(size: int, quarter: int) -> torch.Tensor:
    """Return a dark film [1, 1, size, size] with a bright square in the middle of a quarter."""
    film = torch.zeros(1, 1, size, size)
    row, column = ((quarter // 2) * 2 + 1) * size // 4, ((quarter % 2) * 2 + 1) * size // 4
    half = size // 10
    film[..., row - half : row + half, column - half : column + half] = 3.0
    return film


def in_quarters(maps: torch.Tensor) -> torch.Tensor:
    """Return what of maps [N, h, w] lies in each quarter, [N, 4]; a middle row belongs to two."""
    rows, columns = maps.shape[1] // 2, maps.shape[2] // 2
    above, below = maps[:, :rows], maps[:, -rows:]
    quarters = [
        side for half in (above, below) for side in (half[..., :columns], half[..., -columns:])
    ]
    return torch.stack([each.sum(dim=(1, 2)) for each in quarters], dim=1)


def right(maps: torch.Tensor) -> int:
    """Return how many of four maps [4, h, w], one a quarter, lie mostly in their own."""
    return int((in_quarters(maps).argmax(dim=1) == torch.arange(4)).sum())


def settle_norms(model: nn.Module, films: torch.Tensor) -> None:
    """Give every batch norm the means and variances of some films, as training would.

    Without these a film is lost to rounding on its way through many blocks (ConvMixer).
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.reset_running_stats()
            module.momentum = None  # the plain mean over all batches
    model.train()
    with torch.no_grad():
        model(films)
    model.eval()


def followed_and_pointed(model: Classifier, layer: str, size: int) -> tuple[int, int]:
    """Return in how many of four quarters the layer's map follows the square, and a heatmap points at it."""
    form = Trace(model, square(size, 0)).form(layer)

    def seen(films: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad(), _caught(model, layer, form) as recorded:
            model(films)
        return form.to_map(recorded.outputs[0].detach()).double(), recorded.head_inputs[0]

    noise = 0.1 * torch.randn(FILMS, 1, size, size)
    settle_norms(
        model, torch.cat([noise[:1], *(noise[:1] + square(size, quarter) for quarter in range(4))])
    )
    dark, plain = seen(noise)  # [N, C, h, w], [N, D]
    changes, aims = [], []
    for quarter in range(4):
        maps, features = seen(noise + square(size, quarter))
        change = (maps - dark).square().sum(dim=(0, 1))
        # Less the median: global attention and normalisation change every place.
        changes.append((change - change.median()).clamp(min=0))
        aims.append((features - plain).mean(dim=0))
    aim = torch.stack(aims).mean(dim=0)
    with torch.no_grad():
        model.head.weight[0] = aim / aim.norm()
    dim = explain(model, noise, [0], layer).raw[:, 0]  # [N, h, w]
    risen = torch.stack(
        [
            (explain(model, noise + square(size, quarter), [0], layer).raw[:, 0] - dim).sum(dim=0)
            for quarter in range(4)
        ]
    )
    peak = risen == risen.amax(dim=(1, 2), keepdim=True)
    return right(torch.stack(changes)), right(peak.double())


def check(name: str, size: int = 224) -> dict[str, object]:
    """Return one network's layer, map and checks."""
    torch.manual_seed(0)
    try:
        backbone = Backbone(name, size)
        model = Classifier(backbone, nn.Linear(backbone.out_features, 3)).eval()
        film = square(size, 1) + 0.1 * torch.randn(1, 1, size, size)
        heat = explain(model, film, [0, 2])
    except OptionError as error:
        return {"network": name, "refused": str(error)}
    again = explain(model, film, [0, 2])
    followed, pointed = followed_and_pointed(
        model, heat.layer, size if heat.enlarged_to is None else heat.enlarged_to[0]
    )
    hooks = any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    return {
        "network": name,
        "layer": heat.layer,
        "map": list(heat.map_size),
        "enlarged_to": heat.enlarged_to,
        "followed": followed,
        "pointed": pointed,
        "equal": bool(torch.equal(heat.maps, again.maps)),
        "finite": bool(heat.maps.isfinite().all()),
        "hooks_left": hooks,
    }


def main() -> None:
    """Check and print each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    for name in chosen.networks or NETWORKS:
        start = time.perf_counter()
        result = check(name, chosen.size)
        seconds = round(time.perf_counter() - start, 1)
        line = json.dumps(result) if chosen.json else f"{seconds:6} s {result}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
