"""What the demo can be told, and how large it is; light to import, since the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Where the demo goes, and what it is drawn from."""

    out: Path = Path("demo")
    """Folder for everything that the demo makes; an unfinished demo is continued."""
    seed: int = 0
    """Seed of the phantoms, the weights and the order of the films."""


@dataclass(frozen=True, kw_only=True)
class DemoPlan:
    """How large the demo is: sized for under five minutes on two cores."""

    films: int = 1800
    """Phantoms drawn."""
    drawn_size: int = 128
    """Edge of the drawn films in pixels: what the report shows."""
    size: int = 64
    """Edge of the stored films in pixels: what the networks see."""
    backbone: str = "resnet10t"
    """timm's name of the network."""
    pretrain_epochs: int = 6
    """Passes over the films without labels."""
    pretrain_batch_size: int = 32
    """Films taken at once when pretraining."""
    epochs: tuple[tuple[float, int], ...] = ((0.1, 10), (1.0, 6))
    """Shares of the labels, each with its passes over the films when fine-tuning."""
    batch_size: int = 16
    """Films taken at once when fine-tuning: few, for many steps in few passes."""
    lr: float = 1e-3
    """Peak learning rate, of pretraining and fine-tuning."""
    min_positives: int = 5
    """Findings with fewer positive test patients are left out of the means."""
    resamples: int = 2000
    """Bootstrap resamples of the patients behind each interval."""
    explained: int = 4
    """Test films that heatmaps are drawn of."""
