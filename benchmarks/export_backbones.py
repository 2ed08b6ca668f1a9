"""Which backbones can be exported, how close is model.onnx to torch, and does it have exact maps?

``python benchmarks/export_backbones.py [NAME ...] [--size 64] [--json]`` exports each with random weights; films are
drawn phantoms. Each batch norm has the statistics of these films, as after training, and the head is scaled so that
the largest logit is 0.5: those of a random network are so small otherwise that no difference would be seen, and what
computes something else is off by a part of the logit. Deep random networks magnify rounding: how far torch's float32
is from its own float64 stands beside. Without names: every backbone that the docs, configs and error lines name
(`OFFERED`). About 20 seconds each on one core, minutes for the largest.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from hilum.bundle.description import Description
from hilum.bundle.model_folder import Model
from hilum.bundle.predictor import Predictor
from hilum.bundle.weights import COMMON
from hilum.errors import HilumError
from hilum.images.enhance import Preparation
from hilum.nn.backbones import Backbone
from hilum.workflows.export.export import check_model, phantoms, write_model

DOCS = (
    "resnet10t",
    "resnet18",
    "resnet50",
    "densenet121",
    "inception_v3",
    "tf_efficientnet_lite0",
    "test_resnet",
)
"""Named in the docs and the shipped configs."""
HEATMAPS = (
    "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224", "mambaout_femto",
    "levit_128s", "hiera_tiny_224", "mixer_s16_224", "mobilenetv3_small_050",
)  # fmt: skip
"""Of the families whose heatmaps the docs tell of."""
OFFERED = tuple(
    dict.fromkeys((*DOCS, *HEATMAPS, *(name for group in COMMON.values() for name in group)))
)
LARGEST_LOGIT = 0.5


def model_of(name: str, size: int, seed: int = 0) -> Model:
    """Return a model with random weights that calls two findings, the largest logit of phantoms 0.5."""
    torch.manual_seed(seed)
    backbone = Backbone(name, size)
    findings = ("A", "B")
    description = Description(name, size, Preparation(size).to_json(), "supervised", findings)
    head = nn.Linear(backbone.out_features, 2)
    model = Model(description, backbone, head, pd.DataFrame())
    images = Predictor(model, torch.device("cpu")).standardised(list(phantoms(description)))
    for norm in backbone.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.momentum = None  # the statistics of what it sees, not one tenth of them
    with torch.no_grad():
        backbone.train()(images)
        scale = LARGEST_LOGIT / head(backbone.eval()(images)).abs().max()
        head.weight *= scale
        head.bias *= scale
    return model


@torch.inference_mode()
def own_rounding(model: Model) -> float:
    """Return how far a model's logits of phantoms are from those that float64 gives."""
    predictor = Predictor(model, torch.device("cpu"))
    images = predictor.standardised(list(phantoms(model.description)))
    logits = predictor.classifier(images)
    exact = copy.deepcopy(predictor.classifier).double()(images.double())
    return float((logits - exact).abs().max())


def tried(name: str, size: int) -> dict[str, object]:
    """Export one backbone; return what came of it."""
    began = time.perf_counter()
    try:
        model = model_of(name, size)
        films = phantoms(model.description)
        with tempfile.TemporaryDirectory() as folder:
            content = write_model(Path(folder), model)
            proof = check_model(Path(folder), model, films, "drawn phantoms")
            own = own_rounding(model)
            megabytes = (Path(folder) / "model.onnx").stat().st_size / 1e6
    except HilumError as error:
        return {"name": name, "refused": str(error), "seconds": time.perf_counter() - began}
    return {
        "name": name,
        "difference": proof.largest_difference,
        "torch_from_float64": own,
        "maps": content.graph.map_size,
        "megabytes": round(megabytes, 1),
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> int:
    """Export each backbone and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for name in options.names or OFFERED:
        row = tried(name, options.size)
        rows.append(row)
        result = (
            row.get("refused")
            or f"{row['difference']:.1e}  torch itself {row['torch_from_float64']:.1e}"
            f"  maps {row['maps']}  {row['megabytes']} MB"
        )
        print(f"{name:34s} {row['seconds']:6.1f} s  {result}", flush=True)
    if options.json:
        print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
