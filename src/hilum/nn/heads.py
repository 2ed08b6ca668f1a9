"""Heads: what sits on a backbone while it learns, or to classify."""

from __future__ import annotations

from torch import nn


def mlp(
    in_features: int,
    hidden_features: int,
    out_features: int,
    *,
    batch_norm: bool = False,
    hidden_layers: int = 1,
) -> nn.Sequential:
    """Return so often linear, (batch norm), ReLU, then linear: [B, in] -> [B, out].

    Source: the projector of MoCo v2 (arXiv 2003.04297) without, of SimCLR (arXiv 2002.05709) with
        batch norm, of VICReg (arXiv 2105.04906) with two hidden layers.
    """
    layers: list[nn.Module] = []
    for inputs in (in_features, *[hidden_features] * (hidden_layers - 1)):
        layers += [
            nn.Linear(inputs, hidden_features, bias=not batch_norm),
            *([nn.BatchNorm1d(hidden_features)] if batch_norm else []),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.Linear(hidden_features, out_features))
