"""The multi-label classifier: a backbone, and one output a finding."""

from __future__ import annotations

from torch import Tensor, nn

from hilum.nn.backbones import Backbone


class Classifier(nn.Module):
    """Standardised films [B, 1, H, W] -> logits [B, F]."""

    def __init__(self, backbone: Backbone, head: nn.Linear) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, F]."""
        logits: Tensor = self.head(self.backbone(images))
        return logits
