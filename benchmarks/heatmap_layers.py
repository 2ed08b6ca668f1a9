"""Which layer is a heatmap taken from, and does it lie where the film says? Over timm's families.

For each network, with random weights, a film of noise with a bright square is compared with
one without it, with the square in each of four quarters. The change of the layer's map, summed over
channels, must be largest in the square's quarter: a map whose places were read in a wrong order
does not follow the square. The layer must also not be a stem or patch embedding, two calls must
give equal maps, and no hook may stay.

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
    "resnet18",
    "vgg11",
    "convmixer_768_32",
    "crossvit_tiny_240",
    "pit_ti_224",
    "tnt_s_legacy_patch16_224",
    "twins_svt_small",
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
    "repvit_m1",
    "ghostnet_050",
    "mobilenetv3_small_050",
    "efficientvit_b0",
    "efficientvit_m0",
]


def square(size: int, quarter: int) -> torch.Tensor:
    """Return a dark film [1, 1, size, size] with a bright square in the middle of a quarter."""
    film = torch.zeros(1, 1, size, size)
    row, column = ((quarter // 2) * 2 + 1) * size // 4, ((quarter % 2) * 2 + 1) * size // 4
    half = size // 10
    film[..., row - half : row + half, column - half : column + half] = 3.0
    return film


def followed(model: nn.Module, layer: str, size: int) -> int:
    """Return in how many of four quarters the layer's map changes most where the square is."""
    form = Trace(model, square(size, 0)).form(layer)

    def map_of(film: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), _caught(model, layer, form) as recorded:
            model(film)
        return form.to_map(recorded.outputs[0].detach())[0].double()  # [C, h, w]

    noise = torch.randn(1, 1, size, size)
    dark, right = map_of(noise), 0
    for quarter in range(4):
        change = (map_of(noise + square(size, quarter)) - dark).square().sum(dim=0)  # [h, w]
        # Less the median: global attention and normalisation change every place.
        change = (change - change.median()).clamp(min=0)
        rows, columns = change.shape[0] // 2, change.shape[1] // 2
        quarters = [
            change[:rows, :columns],
            change[:rows, -columns:],
            change[-rows:, :columns],
            change[-rows:, -columns:],
        ]
        right += int(torch.stack([each.sum() for each in quarters]).argmax()) == quarter
    return right


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
    hooks = any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    fitted = film if heat.enlarged_to is None else square(heat.enlarged_to[0], 1)
    return {
        "network": name,
        "layer": heat.layer,
        "map": list(heat.map_size),
        "enlarged_to": heat.enlarged_to,
        "followed": followed(model, heat.layer, fitted.shape[-1]),
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
