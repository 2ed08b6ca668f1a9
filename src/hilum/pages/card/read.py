"""Reads a data card's folder for its page: the record, and the pictures beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hilum.errors import RunError
from hilum.files import refuse_links_out
from hilum.pages.charts.pictures import as_jpeg
from hilum.pages.read import bytes_of, read_json
from hilum.workflows.card.card import CARD, FILES, FORMAT
from hilum.workflows.card.pixels import PICTURES
from hilum.workflows.card.record import CardRecord

SIDE = 160
"""Pixels that a shown film has at least, so that a browser need not enlarge it by much."""


@dataclass(frozen=True)
class Card:
    """A data card: its record, and the folder with its pictures."""

    folder: Path
    record: CardRecord
    hashes: Mapping[str, str] | None = None
    """SHA-256 of its pictures by name; None in cards of earlier versions."""

    def picture(self, name: str) -> str:
        """Return a picture as a ``data:`` address.

        Raises:
            DataError: It is missing, no picture, or not what was written.
        """
        path = self.folder / PICTURES / Path(name).name
        return as_jpeg(bytes_of(path, self.hashes), str(path), SIDE)


def read_card(folder: Path) -> Card:
    """Read a data card.

    Raises:
        RunError: It is damaged, or of a later version.
    """
    path = folder / CARD
    content = read_json(path)
    if content.get("format", FORMAT) != FORMAT:
        raise RunError(
            f"{path} is of format {content['format']}, this version reads {FORMAT}: make the card again."
        )
    try:
        refuse_links_out(folder, [PICTURES])
        return Card(folder, CardRecord.from_json(content), content.get(FILES))
    except ValueError as error:
        raise RunError(
            f"{path} is damaged ({error!s:.300}): delete {folder} and make the card again."
        ) from error
