"""A first-in-first-out store of embeddings with the patients they show."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NO_PATIENT = -1


class Queue(nn.Module):
    """The last ``size`` embeddings, unit length, with their patients; saved and restored with the module.

    Starts as random unit vectors of no patient.
    """

    embeddings: Tensor
    patients: Tensor
    place: Tensor

    def __init__(self, size: int, embedding_size: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"the queue's size is {size}, expected at least 1")
        generator = torch.Generator().manual_seed(0)
        vectors = F.normalize(torch.randn(size, embedding_size, generator=generator), dim=1)
        self.register_buffer("embeddings", vectors)  # [K, E]
        self.register_buffer("patients", torch.full((size,), NO_PATIENT))  # [K]
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def copy(self) -> tuple[Tensor, Tensor]:
        """Return the embeddings [K, E] and patients [K] as they are now, untouched by later pushes."""
        return self.embeddings.clone(), self.patients.clone()

    @torch.no_grad()
    def push(self, embeddings: Tensor, patients: Tensor) -> None:
        """Replace the oldest entries by these: [B, E] unit length, [B] integers; of more than fit the last stay."""
        size = len(self.patients)
        embeddings, patients = embeddings[-size:], patients[-size:]
        # The place stays a tensor: reading it as a number would wait for the device at every step.
        places = (self.place + torch.arange(len(patients), device=patients.device)) % size
        self.embeddings[places] = embeddings.to(self.embeddings.dtype)
        self.patients[places] = patients
        self.place.copy_((self.place + len(patients)) % size)
