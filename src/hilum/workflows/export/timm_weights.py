"""The network under timm's names: weights and config.json of a folder that timm opens by ``local-dir:``."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models._hub import save_config_for_hf
from torch import Tensor, nn

from hilum.bundle.exported import CONFIG, HeadNames
from hilum.bundle.model_folder import Model
from hilum.errors import RunError

OF_PUBLISHED = frozenset(
    (
        *("tag", "license", "origin_url", "paper_ids", "paper_name", "notes", "description"),
        *("url", "file", "hf_hub_id", "hf_hub_filename"),
        *("test_input_size", "test_crop_pct", "test_pool_size"),
    )
)
"""What timm's record of a network says of its published weights alone."""


def timm_network(model: Model) -> tuple[nn.Module, HeadNames | None]:
    """Return timm's network with the run's weights and classifier, and the names of its classifier.

    Raises:
        RunError: The network's classifier is not one linear layer, as far as its output goes.
    """
    name, findings = model.description.backbone, model.description.findings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network: nn.Module = timm.create_model(
            name, pretrained=False, in_chans=1, num_classes=len(findings)
        )
    weights = model.backbone.network.state_dict()
    network.load_state_dict(weights, strict=False)
    names = None
    if model.head is not None:
        classifiers = network.get_classifier()  # type: ignore[operator]
        parts = classifiers if isinstance(classifiers, tuple) else (classifiers,)
        linears = [_as_linear(part, model.head) for part in parts]
        if None in linears:
            raise RunError(
                f"{name} ends in a {type(parts[0]).__name__}, which one linear layer cannot stand for: choose another "
                "--backbone."
            )
        by_part = {id(part): key for key, part in network.named_modules()}
        last = by_part[id(linears[0])]
        names = HeadNames(
            f"{last}.weight", f"{last}.bias", tuple(by_part[id(part)] for part in parts)
        )
    return network.eval(), names


@torch.no_grad()
def _as_linear(part: nn.Module, head: nn.Linear) -> nn.Linear | None:
    """Give a classifier of timm's the weights of a linear layer; None if it cannot have them.

    LeViT's is a batch norm before a linear layer; the norm is made to do nothing.
    """
    linear = part if isinstance(part, nn.Linear) else getattr(part, "linear", None)
    if not isinstance(linear, nn.Linear) or linear.weight.shape != head.weight.shape:
        return None
    linear.weight.copy_(head.weight)
    linear.bias.copy_(head.bias)
    for norm in part.modules():
        if isinstance(norm, nn.BatchNorm1d):
            norm.reset_parameters()
            norm.weight.fill_(math.sqrt(1.0 + norm.eps))
    return linear


def write_config(folder: Path, network: nn.Module, model: Model, licence: str | None) -> None:
    """Write config.json as timm does; mean 0 and deviation 1, since each film is standardised by its own."""
    description = model.description
    # The network brings the record of timm's published weights, with their licence and their author.
    published: dict[str, Any] = dict(network.pretrained_cfg)  # type: ignore[arg-type]
    network.pretrained_cfg = {  # type: ignore[assignment]
        key: value for key, value in published.items() if key not in OF_PUBLISHED
    } | {"tag": "hilum", "license": licence or "unknown"}
    side = model.backbone.fit(torch.zeros(1, 1, description.size, description.size)).shape[-1]
    given: dict[str, Any] = {
        "pretrained_cfg": {
            "input_size": (1, side, side),
            "mean": (0.0,),
            "std": (1.0,),
            "crop_pct": 1.0,
            "interpolation": "bilinear",
        }
    }
    if description.findings:
        given["label_names"] = list(description.findings)
    save_config_for_hf(network, str(folder / CONFIG), model_config=given)


def from_folder(folder: Path, images: Tensor) -> Tensor:
    """Return what timm computes from an exported folder for standardised images [B, 1, H, W].

    Raises:
        RunError: timm does not open it.
    """
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            network = timm.create_model(f"local-dir:{folder}", pretrained=True, in_chans=1)
            outputs: Tensor = network.eval()(images)
    except Exception as error:  # timm, safetensors and torch each have their own
        line = " ".join(str(error).split())
        raise RunError(
            f"timm does not open the exported folder ({line:.160}): upgrade timm, or choose another --backbone."
        ) from error
    return outputs
