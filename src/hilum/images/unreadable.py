"""Why a film cannot be read."""

from __future__ import annotations

from hilum.errors import DataError


class UnreadableFilm(DataError):  # noqa: N818 - named after the film
    """A film cannot be read.

    Attributes:
        reason: One of a handful of short phrases, fit for counting: "missing", "empty", "not a PNG,
            JPEG or DICOM image", "truncated", "damaged", "zero size", "too many pixels", "too many
            chunks", "too many markers", "too many scans", "not a plain file", "unreadable", "not
            supported".
        detail: Details, or an empty string. Never a path.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
