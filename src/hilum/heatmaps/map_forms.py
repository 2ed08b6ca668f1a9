"""How a layer's output holds a map: channels first, channels last, or tokens in a row.

Grad-CAM needs maps [B, C, h, w]. Convolutional networks give them so; Swin and MambaOut give
[B, h, w, C]; vision transformers, mixers and LeViT give tokens [B, N, C], places in rows, often
after class or register tokens; Hiera orders its tokens by windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FIRST, LAST, TOKENS = "channels first", "channels last", "tokens"
_MOST_PREFIX = 12
"""Most tokens of no place before a map: with more, two grids could fit one count of tokens."""


@dataclass(frozen=True)
class MapForm:
    """The form of one layer's map; the batch is the first axis in each."""

    order: str
    rows: int
    columns: int
    prefix: int = 0
    """Tokens before the first place: of the class, of distillation, registers."""
    item: int | None = None
    """Which entry of the output holds the map where the layer returns several."""
    in_rows: Callable[[Tensor], Tensor] | None = None
    """Returns tokens [B, N, C] as [B, h, w, C] where they do not lie row after row."""

    def tensor(self, output: object) -> Tensor:
        """Return the tensor of a layer's output that holds the map."""
        value = output if self.item is None else output[self.item]  # type: ignore[index]
        if not isinstance(value, Tensor):
            raise TypeError(f"a layer gave {type(value).__name__}, not the tensor that was traced")
        return value

    def replaced(self, output: object, tensor: Tensor) -> object:
        """Return a layer's output with another tensor in the map's place."""
        if self.item is None:
            return tensor
        items = list(output)  # type: ignore[call-overload]
        items[self.item] = tensor
        return items if isinstance(output, list) else tuple(items)

    def to_map(self, values: Tensor) -> Tensor:
        """Return the map [B, C, h, w] of the layer's tensor, or of its gradient."""
        if self.order == FIRST:
            return values
        if self.order == LAST:
            return values.movedim(-1, 1)
        places = values[:, self.prefix :]
        if self.in_rows is not None:
            return self.in_rows(places).movedim(-1, 1)
        return places.reshape(len(places), self.rows, self.columns, -1).movedim(-1, 1)


def possible_forms(output: object, film: tuple[int, int]) -> list[MapForm]:
    """Return the forms in which a layer's output for one film can hold a map of its proportions.

    Both orders of the channels fit where a map has as many channels as rows and columns.

    Args:
        output: What the layer returned for one film: a tensor, or several of which the first that
            can hold a map is taken.
        film: Rows and columns of the film.
    """
    if isinstance(output, Tensor):
        return _forms(output.shape, film, None)
    if isinstance(output, tuple | list):
        for item, value in enumerate(output):
            if isinstance(value, Tensor) and (forms := _forms(value.shape, film, item)):
                return forms
    return []


def _forms(shape: torch.Size, film: tuple[int, int], item: int | None) -> list[MapForm]:
    if shape[:1] != (1,):  # windows and pixels of patches are cut along the batch
        return []
    if len(shape) == 4:
        return [
            MapForm(order, rows, columns, item=item)
            for order, rows, columns in (
                (FIRST, shape[2], shape[3]),
                (LAST, shape[1], shape[2]),
            )
            if _proportional(rows, columns, film)
        ]
    if len(shape) == 3:
        for prefix in range(min(_MOST_PREFIX, shape[1] - 1) + 1):
            rows = round(((shape[1] - prefix) * film[0] / film[1]) ** 0.5)
            columns = (shape[1] - prefix) // max(rows, 1)
            whole = rows * columns == shape[1] - prefix
            if whole and abs(rows * film[1] - columns * film[0]) < max(film):
                return [MapForm(TOKENS, rows, columns, prefix, item)]
    return []


def _proportional(rows: int, columns: int, film: tuple[int, int]) -> bool:
    return abs(rows * film[1] - columns * film[0]) <= max(film)
