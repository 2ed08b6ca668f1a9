"""Reads a data card's folder for its page: the numbers, and the pictures beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.errors import RunError
from hilum.pages.charts.pictures import as_jpeg
from hilum.pages.read import bytes_of, read_json
from hilum.workflows.card.card import CARD, FORMAT
from hilum.workflows.card.pixels import PICTURES

KEYS = (
    "made_of",
    "columns",
    "stores",
    "patients",
    "copies",
    "strangers",
    "hints",
    "shortcuts",
    "reader",
)
SIDE = 160
"""Pixels that a shown film has at least, so that a browser need not enlarge it by much."""


@dataclass(frozen=True)
class Card:
    """A data card as its files tell it."""

    folder: Path
    content: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        """Return a part of the content."""
        return self.content[key]

    @property
    def names(self) -> list[str]:
        """The stores' names."""
        return [column["name"] for column in self.own]

    @property
    def own(self) -> list[Mapping[str, Any]]:
        """The columns of single stores."""
        return list(self.content["columns"][: len(self["stores"])])

    @property
    def whole(self) -> Mapping[str, Any]:
        """The column of all stores, which of one store is its own."""
        return dict(self.content["columns"][-1])

    def picture(self, name: str) -> str:
        """Return a picture as an address.

        Raises:
            DataError: It is missing, or no picture.
        """
        path = self.folder / PICTURES / Path(name).name
        return as_jpeg(bytes_of(path), str(path), SIDE)


def read_card(folder: Path) -> Card:
    """Read a data card.

    Raises:
        RunError: It is damaged, or of a later version.
    """
    path = folder / CARD
    content = read_json(path)
    missing = [key for key in ("format", *KEYS) if key not in content]
    if missing:
        raise RunError(
            f"{path} is damaged (no {missing[0]}): delete {folder} and make the card again."
        )
    if content["format"] != FORMAT:
        raise RunError(
            f"{path} is of format {content['format']}, this version reads {FORMAT}: make the card again."
        )
    return Card(folder, content)
