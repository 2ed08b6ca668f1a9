"""Generated tables of a folder of films: every row is kept or excluded by name, and labels are those that were drawn.

    python benchmarks/foreign_tables.py --tables 5000 --json

Each table varies separator, encoding, line ends, quoting, words for labels and for nothing, lists in cells, empty
rows, nameless and double columns, several rows a film, films that are not there, and mistakes. The labels are
compared with those drawn before the table was written.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from hilum.errors import HilumError
from hilum.sources import read_source

WORDS = {
    1: ("1", "1.0", " 1 ", "yes", "True", "present", "+1"),
    0: ("0", "0.0", "no", "FALSE", "absent", "-0"),
    -1: ("-1", "-1.0", "uncertain"),
    None: ("", "nan", "NaN", "NA", "N/A", "None", "null", " "),
}
FINDINGS = ("Edema", "Mass", "Pleural Effusion")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")
MISTAKES = (
    "",
    "",
    "",
    "",
    "",
    "",
    "label",
    "patient",
    "ragged",
    "header",
    "outside",
    "NUL",
    "quote",
)
FILMS = 12


def draw(
    rng: random.Random, root: Path
) -> tuple[dict[str, Any], int, dict[str, list[float]] | None]:
    """Write a table; return the options that read it, its rows, and labels by path, None where it must be refused."""
    mistake, lists = rng.choice(MISTAKES), rng.random() < 0.4
    films = rng.sample(range(FILMS + 3), rng.randint(2, FILMS))  # the last three are not on disk
    films = films if any(film < FILMS for film in films) else [0, *films]
    sign, end = rng.choice(",;\t"), rng.choice(("\n", "\r\n", "\r"))
    truth: dict[str, list[float]] = {}
    rows: list[list[str]] = []
    for film in films:
        path = f"f/{film}.png"
        values = [rng.choice((1, 0) if lists else (1, 0, -1, None)) for _ in FINDINGS]
        truth[path] = [np.nan if value is None else float(value) for value in values]
        if lists:
            names = [name for name, value in zip(FINDINGS, values, strict=True) if value]
            printed = (
                repr(names or ["normal"]),
                json.dumps(names or ["normal"]),
                "|".join(names) or "normal",
            )
            cells = [rng.choice(printed)]
        else:
            cells = [rng.choice(WORDS[value]) for value in values]
        named = rng.choice(
            (path, f"./{path}", path.replace("/", "\\"), f" {path} ", str(root / path))
        )
        rows.append([named, f"p{film}", *cells])
    header = ["path", "who", *(["Labels"] if lists else FINDINGS)]
    join = rng.choice(("", "any", "majority", "uncertain"))
    if join:
        rows += [list(rng.choice(rows)) for _ in range(rng.randint(1, 4))]  # the same labels again
    if rng.random() < 0.3:
        header, rows = [*header, ""], [[*row, str(number)] for number, row in enumerate(rows)]
    for _ in range(rng.choice((0, 0, 1, 3))):
        rows.insert(rng.randint(0, len(rows)), [rng.choice(("", " ", "nan")) for _ in header])
    count = len(rows)
    given = next(row for row in rows if row[0].strip() not in ("", "nan"))
    if mistake == "label":
        given[2] = "['Edema'" if lists else "maybe"
    elif mistake == "patient":
        given[1] = rng.choice(("", "nan", "NA"))
    elif mistake == "ragged":
        rows[-1] = [*rows[-1], "x"]
    elif mistake == "header":
        header = [*header[:-1], "who"]
    elif mistake == "outside":
        given[0] = rng.choice(("../x.png", "/etc/x.png", "C:\\x.png"))
    text = (
        end.join(sign.join(_quoted(rng, cell, sign) for cell in row) for row in (header, *rows))
        + end
    )
    if mistake == "quote":
        text += sign.join(['"x', *[""] * (len(header) - 1)]) + end
    data = text.encode(rng.choice(ENCODINGS))
    (root / "t.csv").write_bytes(data + b"\0\0" if mistake == "NUL" else data)
    labels = {"label_column": "Labels"} if lists else {"finding_columns": FINDINGS}
    options = {"csv": "t.csv", "patient_column": "who", "join": join, **labels}
    return options, count, None if mistake else truth


def _quoted(rng: random.Random, cell: str, sign: str) -> str:
    needed = any(part in cell for part in (sign, '"', "\n", ",", ";", "\t"))
    return '"' + cell.replace('"', '""') + '"' if needed or rng.random() < 0.2 else cell


def check(root: Path, seed: int) -> str:
    """Return what became of one table: read, refused, or what is wrong."""
    options, rows, truth = draw(random.Random(seed), root)
    try:
        catalog = read_source("folder", root, **options)
    except HilumError as error:
        if "\n" in str(error):
            return "wrong: an error of several lines"
        only_absent = truth is not None and "names no finding" in str(error)
        return "refused" if truth is None or only_absent else f"wrong: refused ({error})"
    except Exception:  # noqa: BLE001  (a traceback is what is looked for)
        return f"traceback: {traceback.format_exc(limit=-1)}"
    if truth is None:
        return "wrong: a mistake was read"
    if catalog.rows_read != rows or rows != len(catalog.table) + sum(catalog.excluded.values()):
        return f"wrong: {rows} rows written, {catalog.rows_read} read, {len(catalog.table)} kept"
    if not all(catalog.excluded):
        return "wrong: an exclusion without a name"
    for path, labels in zip(catalog.table["path"], catalog.labels(), strict=True):
        wanted = [truth[path][FINDINGS.index(name)] for name in catalog.findings]
        if not np.array_equal(labels, np.float32(wanted), equal_nan=True):
            return f"wrong: labels of {path}: {labels.tolist()}, drawn {wanted}"
    return "read"


def check_all(root: Path, tables: int, seed: int = 0) -> dict[str, Any]:
    """Return how many tables were read and refused, and what went wrong."""
    (root / "f").mkdir()
    for film in range(FILMS):
        (root / "f" / f"{film}.png").touch()
    outcomes = {number: check(root, seed + number) for number in range(tables)}
    counts = Counter(outcome.split(":")[0] for outcome in outcomes.values())
    wrong = {str(seed + n): text for n, text in outcomes.items() if text not in ("read", "refused")}
    return {"tables": tables, **counts, "seeds": dict(list(wrong.items())[:20])}


def main() -> None:
    """Check the tables and print the counts; exit with 1 if one went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = check_all(Path(folder), options.tables, options.seed)
    print(json.dumps(result, indent=1) if options.json else result)
    raise SystemExit(bool(result["seeds"]))


if __name__ == "__main__":
    main()
