"""Lists printed into one cell of a table, as programs write them: Python, NumPy, JSON, R, PostgreSQL."""

from __future__ import annotations

import re

_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_ITEM = re.compile(
    r"""\s*(?:u?'(?P<single>(?:\\.|''|[^'\\])*)'     # 'a'
          |   u?"(?P<double>(?:\\.|""|[^"\\])*)"     # "a"
          |   (?P<bare>[^,;|'"\[\](){}][^,;|\[\](){}]*))  # a, up to the next separator
        \s*(?P<end>[,;|]|$|(?=['"]))                 # NumPy prints no comma between texts
    """,
    re.VERBOSE,
)


def list_items(cell: str) -> list[str] | None:
    """Return the texts of a list printed into a cell, or None for a cell that is no list.

    Quotes, the spaces around items and empty items are dropped.

    Raises:
        ValueError: It begins as a list and does not end as one: cut off, nested, a quote left open.

    >>> list_items("['cardiomegaly', 'pleural effusion']"), list_items('["a;b"]'), list_items("[]")
    (['cardiomegaly', 'pleural effusion'], ['a;b'], [])
    >>> list_items("['a' 'b']"), list_items("{edema,mass}"), list_items("edema|mass")
    (['a', 'b'], ['edema', 'mass'], None)
    """
    text = cell.strip()
    text = text[1:] if text.startswith(("c(", "C(")) else text  # as R prints a vector
    close = _BRACKETS.get(text[:1])
    if close is None:
        return None
    if len(text) < 2 or text[-1] != close:
        # "(old) fracture" and "{x} y" are plain texts; a square bracket begins a list that was cut.
        if text[0] != "[" and close in text:
            return None
        raise ValueError("a list that has no end")
    inner, at, items = text[1:-1].strip(), 0, []
    if re.search(r"(?:^|[\s,])\.\.\.(?:$|[\s,])", inner):
        raise ValueError("a list that was cut off by the program that printed it")
    while at < len(inner):
        if inner[at] in ",;|":  # an empty item
            at += 1
            continue
        match = _ITEM.match(inner, at)
        if match is None:
            if text[0] != "[":  # "(old) fracture (healed)"
                return None
            raise ValueError("a list that cannot be read")
        items.append(_text(match))
        at = match.end()
    return [item for item in items if item]


def _text(match: re.Match[str]) -> str:
    for quote, name in (("'", "single"), ('"', "double")):
        if (quoted := match[name]) is not None:
            plain = re.sub(
                r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), quoted
            )  # JSON
            return re.sub(r"\\(.)", r"\1", plain.replace(quote * 2, quote)).strip()
    return str(match["bare"]).strip()
