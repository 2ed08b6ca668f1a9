"""Identifiers of results: of the same film, model and key always the same, so that none is filed twice."""

from __future__ import annotations

from dataclasses import dataclass

from hilum.group_key import GroupKey


@dataclass(frozen=True)
class ResultUids:
    """Identifiers of a film's two results."""

    capture: str
    capture_series: str
    report: str
    report_series: str
    device: str
    """Of the model, as the observer of the report."""


def result_uids(key: GroupKey, film: str, study: str, model: str) -> ResultUids:
    """Return the identifiers of the results of a film.

    Args:
        key: Without it nobody can tell which film an identifier came from.
        film: Its SOP Instance UID.
        study: Its Study Instance UID; the results of a study are in one series each.
        model: SHA-256 of the model.
    """
    names = [
        f"capture {film} {model}",
        f"captures {study} {model}",
        f"report {film} {model}",
        f"reports {study} {model}",
        f"device {model}",
    ]
    made = key.pseudonyms("result", [name.encode() for name in names])
    return ResultUids(*(_uid(pseudonym) for pseudonym in made))


def _uid(pseudonym: str) -> str:
    """Return 32 hex digits as a UID below 2.25 (PS3.5 B.2: a UUID as one whole number)."""
    digits = int(pseudonym, 16)
    # Version 8 of RFC 9562, "custom", and its variant.
    digits = digits & ~(0xF << 76) | 0x8 << 76
    digits = digits & ~(0x3 << 62) | 0x2 << 62
    return f"2.25.{digits}"
