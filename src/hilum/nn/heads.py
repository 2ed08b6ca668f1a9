"""Heads: what sits on a backbone while it learns, or to classify."""

from __future__ import annotations

from torch import nn


def mlp(
    in_features: int, hidden_features: int, out_features: int, *, batch_norm: bool = False
) -> nn.Sequential:
    """Return linear, (batch norm), ReLU, linear: [B, in] -> [B, out].

    Source: the projector of MoCo v2 (arXiv 2003.04297) without, of SimCLR (arXiv 2002.05709) with
        batch norm.
    """
    norm: list[nn.Module] = [nn.BatchNorm1d(hidden_features)] if batch_norm else []
    return nn.Sequential(
        nn.Linear(in_features, hidden_features, bias=not batch_norm),
        *norm,
        nn.ReLU(inplace=True),
        nn.Linear(hidden_features, out_features),
    )
