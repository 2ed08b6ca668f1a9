"""Counts with their nouns, for lines, errors and pages."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its words, those for one where it is 1.

    >>> counted(1, "film"), counted(2000, "film")
    ('1 film', '2,000 films')
    >>> counted(1, "study", "studies"), counted(0, "film is a copy", "films are copies")
    ('1 study', '0 films are copies')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
