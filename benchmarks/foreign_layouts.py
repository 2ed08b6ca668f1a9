"""Ten layouts of weights files as other packages write them, from one network of timm with random weights."""

from __future__ import annotations

import argparse
import copy
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytorch_lightning
import timm
import torch
import torchvision
from lightly.models import modules as lightly_modules
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.vision_transformer import VisionTransformer

NETWORKS = (
    "resnet18",
    "resnet50",
    "densenet121",
    "efficientnet_b0",
    "convnext_atto",
    "vit_tiny_patch16_224",
)
REFUSED = {
    ("torchvision", "efficientnet_b0"): "303 more (the file has 'features.",
    ("torchvision", "convnext_atto"): "121 more (the file has 'features.",
    ("torchvision", "vit_tiny_patch16_224"): "(the file has 'class_token'",
    ("lightly", "convnext_atto"): "head.norm.weight is not there and 1 more",
}
"""Files that are to be refused, and a piece of the right reason: torchvision names these networks' tensors
otherwise, and no layout is known for them; lightly's examples drop the last child of a network, in which ConvNeXt has
its last norm."""


def published(name: str, seed: int, channels: int = 3) -> nn.Module:
    """Return a network of timm as its authors could publish it: every vector and statistic has moved."""
    torch.manual_seed(seed)
    network = timm.create_model(name, in_chans=channels, num_classes=10)
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if not value.is_floating_point() or value.ndim != 1:
                continue
            if key.endswith(("running_var", "weight", "gamma")):
                value.uniform_(0.5, 1.5)
            else:
                value.normal_(0.0, 0.1)
    return network.eval()


def write(layout: str, network: nn.Module, name: str, path: Path) -> Path:
    """Write the network in one of LAYOUTS below a folder and return the file."""
    file = path / f"{name}-{layout}{'.safetensors' if layout == 'one-channel' else '.pth'}"
    LAYOUTS[layout](network, name, file)
    return file


def _timm(network: nn.Module, _name: str, file: Path) -> None:
    torch.save(network.state_dict(), file)


def _torchvision(network: nn.Module, name: str, file: Path) -> None:
    """Save torchvision's own module of the architecture, with the network's values where names agree."""
    if name == "convnext_atto":
        sizes = (40, 80, 160, 320)
        blocks = [
            CNBlockConfig(size, following, count)
            for size, following, count in zip(sizes, (*sizes[1:], None), (2, 2, 6, 2), strict=True)
        ]
        model: nn.Module = ConvNeXt(blocks, num_classes=10)
    elif name.startswith("vit_tiny"):
        model = VisionTransformer(224, 16, 12, 3, 192, 768, num_classes=10)
    else:
        model = torchvision.models.get_model(name, num_classes=10)
    if ("torchvision", name) not in REFUSED:
        model.load_state_dict(network.state_dict())
    torch.save(model.state_dict(), file)


def _lightly(network: nn.Module, name: str, file: Path) -> None:
    """Save a MoCo module as lightly's examples build it: numbered children, heads, momentum copies."""
    module = nn.Module()
    if name.startswith("vit"):
        module.backbone = lightly_modules.MaskedVisionTransformerTIMM(network)
    else:
        module.backbone = nn.Sequential(*list(network.children())[:-1])
    module.projection_head = lightly_modules.MoCoProjectionHead(512, 512, 128)
    module.backbone_momentum = copy.deepcopy(module.backbone)
    with torch.no_grad():
        for value in module.backbone_momentum.parameters():
            value.mul_(0.9)
    torch.save(module.state_dict(), file)


class _Lightning(pytorch_lightning.LightningModule):
    def __init__(self, options: argparse.Namespace, network: nn.Module) -> None:
        super().__init__()
        self.save_hyperparameters(options)
        self.model = network


def _lightning(network: nn.Module, name: str, file: Path) -> None:
    options = argparse.Namespace(arch=name, lr=0.1, out=file.parent)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        trainer = pytorch_lightning.Trainer(
            accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=folder
        )
        trainer.strategy.connect(_Lightning(options, network))
        trainer.save_checkpoint(file)


def _data_parallel(network: nn.Module, name: str, file: Path) -> None:
    checkpoint = {
        "epoch": 90,
        "arch": name,
        "state_dict": nn.DataParallel(network).state_dict(),
        "best_acc1": np.float64(71.2),
        "args": argparse.Namespace(lr=0.1, data=Path("imagenet")),
        "optimizer": torch.optim.SGD(network.parameters(), 0.1).state_dict(),
    }
    torch.save(checkpoint, file)


def _compiled(network: nn.Module, _name: str, file: Path) -> None:
    torch.save({"model": torch.compile(network).state_dict(), "step": np.int64(5)}, file)


def _moco(network: nn.Module, name: str, file: Path) -> None:
    """Save the official MoCo's checkpoint: query and key encoder, queue, pointer."""
    tensors: dict[str, Tensor] = {}
    for key, value in network.state_dict().items():
        tensors[f"module.encoder_q.{key}"] = value
        tensors[f"module.encoder_k.{key}"] = value * 0.9 if value.is_floating_point() else value
    tensors |= {
        "module.queue": torch.randn(128, 64),
        "module.queue_ptr": torch.zeros(1, dtype=torch.long),
    }
    torch.save({"epoch": 200, "arch": name, "state_dict": tensors, "optimizer": {}}, file)


def _dino(network: nn.Module, name: str, file: Path) -> None:
    """Save DINO's checkpoint: a student in DataParallel and a teacher, which is the one to use."""
    student = {
        f"module.backbone.{key}": value * 0.9 if value.is_floating_point() else value
        for key, value in network.state_dict().items()
    }
    teacher = {f"backbone.{key}": value for key, value in network.state_dict().items()}
    head = {"head.mlp.0.weight": torch.randn(8, 8), "head.last_layer.weight_g": torch.ones(8, 1)}
    checkpoint = {
        "student": student | {f"module.{key}": value for key, value in head.items()},
        "teacher": teacher | head,
        "epoch": 100,
        "args": argparse.Namespace(arch=name, momentum_teacher=0.996),
        "dino_loss": {"center": torch.zeros(1, 8)},
    }
    torch.save(checkpoint, file)


def _half(network: nn.Module, _name: str, file: Path) -> None:
    torch.save({"net": copy.deepcopy(network).half().state_dict()}, file)


def _one_channel(network: nn.Module, _name: str, file: Path) -> None:
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, file)


LAYOUTS: dict[str, Callable[[nn.Module, str, Path], None]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "lightly": _lightly,
    "lightning": _lightning,
    "data-parallel": _data_parallel,
    "compiled": _compiled,
    "moco": _moco,
    "dino": _dino,
    "half": _half,
    "one-channel": _one_channel,
}
