"""Words for a film's projection, as hospitals, DICOM headers and data sets write them: one table for every source.

Terms: DICOM PS3.3 C.8.7.1.1.1 (View Position) and CID 4010; MIMIC-CXR's and PadChest's columns
(Johnson 2019, arXiv 1901.07042; Bustos 2020, arXiv 1901.07441).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

FRONTAL = "FRONTAL"
"""A frontal film of which it is not said whether it is PA or AP."""

_LATERAL = {"lat", "llat", "rlat", "latl", "latr", "xtable", "xtab"}
_LATERAL |= {"profile", "profil", "perfil", "seitlich", "seitlicher"}
_LATERAL_CODES = {"l", "ll", "rl"}
"""A lateral where they stand alone; beside AP or PA they may be the side marker."""
_FRONTAL = {"frontal", "front", "frontale", "frontales"}
_NEITHER = {"lao", "rao", "lpo", "rpo", "obl", "oblique", "oblicua", "obliqua", "schrag"}
_NOT = {"no", "not", "non", "kein", "sin"}
_POSTURES = "supine|erect|upright|sitting|portable|horizontal|axial|lordotic|view|chest|semierect"
_PA = re.compile(rf"pa(?:{_POSTURES})?|.*poster(?:o|e|ior|iorto)?anter.*")
_AP = re.compile(rf"ap(?:{_POSTURES})?|.*anter(?:o|e|ior|iorto)?poster.*")
_A_LATERAL = re.compile(r"(?!.*(?:bi|uni|ipsi|contra|non)lateral).*lateral.*")


def view_position(text: str) -> str | None:
    """Return PA, AP, LATERAL or FRONTAL, or None where the words do not tell.

    A word for lateral wins over AP and PA beside it, since a lateral among frontal films does more
    harm than a frontal that is lost. Oblique films are neither.

    >>> [view_position(text) for text in ("AP_horizontal", "postero-anterior", "XTABLE LATERAL")]
    ['AP', 'PA', 'LATERAL']
    >>> [view_position(text) for text in ("LL", "Frontal", "AP oblique", "COSTAL", "AP L")]
    ['LATERAL', 'FRONTAL', None, None, None]
    """
    words = _words(text)
    together = "".join(words)
    if not words or _NOT & set(words):
        return None
    if "crosstable" in together or any(
        word in _LATERAL or _A_LATERAL.fullmatch(word) for word in words
    ):
        return "LATERAL"
    if _NEITHER & set(words):
        return None
    frontal = {
        view for view, form in (("PA", _PA), ("AP", _AP)) if any(map(form.fullmatch, words))
    } or {
        view
        for view, form in (("PA", _PA), ("AP", _AP))
        if "anter" in together and form.fullmatch(together)
    }
    coded = _LATERAL_CODES & set(words)
    if not frontal and not _FRONTAL & set(words):
        return "LATERAL" if coded and len(words) == 1 else None
    if coded:
        return None
    return frontal.pop() if len(frontal) == 1 else FRONTAL


def sides_named(text: str) -> set[str]:
    """Return which of lateral and frontal a text names: both where it is of a study with two films.

    >>> sorted(sides_named("Chest PA and lateral")), sides_named("Thorax p.a."), sides_named("LL")
    (['frontal', 'lateral'], {'frontal'}, {'lateral'})
    """
    words = _words(text)
    lateral = {word for word in words if word in _LATERAL or _A_LATERAL.fullmatch(word)}
    rest = " ".join(word for word in words if word not in lateral)
    view = view_position(rest)
    sides = {"lateral"} if lateral or view == "LATERAL" else set()
    return sides | ({"frontal"} if view and view != "LATERAL" else set())


@lru_cache(maxsize=10_000)  # an archive's films share their words
def _words(text: str) -> tuple[str, ...]:
    """Return the words in small letters without accents; letters that stand alone are one word, as in P.A."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    words: list[str] = []
    single = False
    for word in re.findall(r"[a-z]+", re.sub(r"([a-z])(?=[A-Z])", r"\1 ", plain).casefold()):
        if single and len(word) == 1:
            words[-1] += word
        else:
            words.append(word)
        single = len(word) == 1
    return tuple(words)
