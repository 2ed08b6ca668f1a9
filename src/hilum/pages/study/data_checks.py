"""What a check of a study's data found, on its page: copies, odd films, and findings that are told too easily."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hilum.pages.card.sections import NOTHING_ODD
from hilum.pages.card.tables import leaks_of, shortcuts_table
from hilum.pages.study.read import Study
from hilum.pages.wording import counted


def fact_sections(study: Study) -> dict[str, Any]:
    """Return what the page says of the check, by the name that its template uses; None where there was none."""
    return {"checked": checked(study.facts) if study.facts else None}


def checked(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the check in words, each with whether something is wrong, and its tables."""
    shortcuts = facts["shortcuts"]
    return {
        "lines": [*_copies(facts), *_patients(facts), *_outliers(facts), *_shortcuts(shortcuts)],
        "leaks": leaks_of(facts["copies"]) if facts["copies"]["groups"] else None,
        "shortcuts": shortcuts_table(shortcuts) if not shortcuts["reason"] else None,
        "rule": shortcuts.get("rule"),
        "beside": shortcuts.get("beside"),
    }


def wrongs(study: Study) -> Iterator[tuple[str, str]]:
    """Yield what the check found wrong, as limits of what the study shows."""
    if not study.facts:
        return
    straddling, flags = (
        study.facts["copies"]["straddling"],
        study.facts["shortcuts"].get("flags", []),
    )
    if straddling:
        yield (
            "Films are there twice.",
            f"{counted(straddling, 'group')} of copies stand in several parts, so scores on them may be too good.",
        )
    if flags:
        names = ", ".join(dict.fromkeys(flag["finding"] for flag in flags))
        yield (
            "Shortcuts are possible.",
            f"A simple reader that sees no chest tells {names} about as well as one of the whole film does: a model "
            "may have learnt that instead of the finding.",
        )


def _copies(facts: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    found = facts["copies"]
    if not found["groups"]:
        yield "No film is there twice.", False
    elif found["straddling"]:
        yield (
            f"{counted(found['straddling'], 'group')} of copies stand in several parts: a leak.",
            True,
        )
    else:
        yield (
            f"{counted(found['films'], 'film')} are copies of another, each within its part.",
            False,
        )


def _patients(facts: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    several = facts["patients"]["in_several_parts"]
    yield (
        (f"{counted(several, 'patient')} stand in several parts.", True)
        if several
        else (
            "No patient stands in several parts.",
            False,
        )
    )


def _outliers(facts: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    odd = sum(facts["strangers"].values())
    yield (
        f"{counted(odd, 'film')} may be turned, negative or no chest film." if odd else NOTHING_ODD,
        bool(odd),
    )


def _shortcuts(found: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    if found["reason"]:
        yield f"Shortcuts were not probed: {found['reason']}.", False
    elif not found["flags"]:
        yield "No shortcut is flagged.", False
    else:
        yield from ((f"Possible shortcut. {flag['words']}", True) for flag in found["flags"])
