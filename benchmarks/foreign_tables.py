"""Generated tables of a folder of films: every row is kept, excluded or failed by name, and cells are those drawn.

    python benchmarks/foreign_tables.py --tables 5000 --json

Each table varies separator, encoding, line ends, quoting, words for labels, splits, views and for nothing, lists in
cells, empty rows, nameless and double columns, several rows a film, films that are not there or cannot be decoded, and
mistakes. Labels, splits, views and patients are compared with those drawn before the table was written. The films of
every table are decoded; every 25th table is prepared into a store, by which the counts of its manifest are checked.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import traceback
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd

from hilum.catalog import Catalog
from hilum.errors import HilumError
from hilum.files import read_hashed_json
from hilum.images.read import UnreadableFilm, read_grey
from hilum.images.store import MANIFEST
from hilum.sources import read_source
from hilum.workflows.prepare.prepare import PrepareOptions, prepare

WORDS = {
    1: ("1", "1.0", " 1 ", "yes", "True", "present", "+1"),
    0: ("0", "0.0", "no", "FALSE", "absent", "-0"),
    -1: ("-1", "-1.0", "uncertain"),
    None: ("", "nan", "NaN", "NA", "N/A", "None", "null", " "),
}
PARTS = {
    "train": ("train", "Training", " TRAIN "),
    "val": ("val", "valid", "Validate", "dev", "EVAL", "validation"),
    "test": ("test", "testing", "Test", "fold 5"),
    None: ("", "NA", "none", "unused"),
}
VIEWS = {
    "PA": ("PA", "P.A.", "postero-anterior", "PA ERECT", "Posteroanterior"),
    "AP": ("AP", "AP Supine", "AP_horizontal", "antero-posterior", "PORTABLE AP"),
    "LATERAL": ("L", "LL", "RL", "Lateral", "XTABLE LATERAL", "AP LATERAL"),
    "FRONTAL": ("frontal", "AP/PA", "Frontale"),
    None: ("", "COSTAL", "oblique", "AP oblique", "unknown"),
}
FINDINGS = ("Edema", "Mass", "Pleural Effusion")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")
MISTAKES = ("label", "patient", "ragged", "header", "outside", "NUL", "quote")
FLAWED = 0.35
"""How many tables have a mistake."""
FILMS = 12
BROKEN = {3: "a cut PNG", 7: "an empty file", 9: "a text", 11: "a cut JPEG"}
"""Films that are on disk and cannot be decoded."""


class Film(NamedTuple):
    """What a table says of a film."""

    patient: str
    part: str | None
    view: str | None
    labels: list[float]


def lay_down(folder: Path) -> None:
    """Write the films of all tables."""
    folder.mkdir()
    for film in range(FILMS):
        pixels = np.random.default_rng(film).integers(0, 256, (24, 20), dtype=np.uint8)
        whole = cv2.imencode(".jpg" if film % 4 == 3 else ".png", pixels)[1].tobytes()
        content = {
            "a cut PNG": cv2.imencode(".png", pixels)[1].tobytes()[:150],
            "an empty file": b"",
            "a text": b"not found\n",
            "a cut JPEG": whole[: len(whole) // 2],
        }
        (folder / f"{film}.png").write_bytes(content.get(BROKEN.get(film, ""), whole))


def draw(rng: random.Random, root: Path) -> tuple[dict[str, Any], int, dict[str, Film] | None]:
    """Write a table; return the options that read it, its rows, and its films, None where it must be refused."""
    mistake = rng.choice(MISTAKES) if rng.random() < FLAWED else ""
    lists = rng.random() < 0.4
    films = rng.sample(range(FILMS + 3), rng.randint(2, FILMS))  # the last three are not on disk
    films = films if any(film < FILMS for film in films) else [0, *films]
    sign, end = rng.choice(",;\t"), rng.choice(("\n", "\r\n", "\r"))
    described = rng.random() < 0.5
    truth: dict[str, Film] = {}
    rows: list[list[str]] = []
    for film in films:
        path = f"f/{film}.png"
        values = [rng.choice((1, 0) if lists else (1, 0, -1, None)) for _ in FINDINGS]
        part, view = (rng.choice(list(words)) if described else None for words in (PARTS, VIEWS))
        truth[path] = Film(
            f"p{film}",
            part,
            view,
            [np.nan if value is None else float(value) for value in values],
        )
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
        more = [rng.choice(PARTS[part]), rng.choice(VIEWS[view])] if described else []
        rows.append([named, f"p{film}", *cells, *more])
    header = ["path", "who", *(["Labels"] if lists else FINDINGS)]
    header += ["set", "Projection"] if described else []
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
    if described:
        there = {row[header.index("set")] for row in rows if len(row) > header.index("set")}
        own = {word: part for word, part in (("fold 5", "test"), ("unused", "")) if word in there}
        options |= {"part_column": "set", "view_column": "Projection", "split_values": own}
    return options, count, None if mistake else truth


def _quoted(rng: random.Random, cell: str, sign: str) -> str:
    needed = any(part in cell for part in (sign, '"', "\n", ",", ";", "\t"))
    return '"' + cell.replace('"', '""') + '"' if needed or rng.random() < 0.2 else cell


@cache
def failure(film: Path) -> str:
    """Return why a film cannot be decoded, nothing where it can."""
    try:
        read_grey(film)
    except UnreadableFilm as error:
        return error.reason
    return ""


def check(root: Path, seed: int, stored: bool) -> str:
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
    failed = Counter(filter(None, (failure(root / path) for path in catalog.table["path"])))
    kept = len(catalog.table) - failed.total()
    if not rows == catalog.rows_read == kept + sum(catalog.excluded.values()) + failed.total():
        return f"wrong: {rows} rows written, {catalog.rows_read} read, {kept} kept, {failed} failed"
    if not all(catalog.excluded):
        return "wrong: an exclusion without a name"
    if fault := differing(catalog, truth):
        return f"wrong: {fault}"
    return (stored and wrong_store(catalog, root, kept, failed)) or "read"


def differing(catalog: Catalog, truth: dict[str, Film]) -> str:
    """Return the first film of which the catalogue says something else than was drawn."""
    table = catalog.table.astype(object).where(catalog.table.notna(), None)
    columns = (table[name] for name in ("path", "patient", "part", "view_position"))
    for path, patient, part, view, labels in zip(*columns, catalog.labels(), strict=True):
        film = truth[path]
        wanted = [film.labels[FINDINGS.index(name)] for name in catalog.findings]
        if not np.array_equal(labels, np.float32(wanted), equal_nan=True):
            return f"labels of {path}: {labels.tolist()}, drawn {wanted}"
        if (patient, part, view) != film[:3]:
            return f"{path}: {(patient, part, view)}, drawn {film[:3]}"
    return ""


def wrong_store(catalog: Catalog, root: Path, kept: int, failed: Counter[str]) -> str:
    """Prepare the films into a store; return what is wrong with its counts."""
    out = root / "stores" / "t"
    try:
        prepare(catalog, out, PrepareOptions(16, workers=1))
    except HilumError as error:
        return "" if not kept and "can be read" in str(error) else f"wrong: not prepared ({error})"
    except Exception:  # noqa: BLE001  (a traceback is what is looked for)
        return f"traceback: {traceback.format_exc(limit=-1)}"
    else:
        manifest, _ = read_hashed_json(out / MANIFEST)
        counts = (manifest["rows_kept"], manifest["rows_excluded"], manifest["rows_failed"])
        if counts != (kept, catalog.excluded, dict(failed)):
            return f"wrong: the store has {counts}, not {(kept, catalog.excluded, dict(failed))}"
        listed = len(pd.read_csv(out / "failures.csv"))
        return "" if listed == failed.total() else f"wrong: failures.csv has {listed} rows"
    finally:
        shutil.rmtree(out, ignore_errors=True)


def check_all(root: Path, tables: int, seed: int = 0, every: int = 25) -> dict[str, Any]:
    """Return how many tables were read and refused, and what went wrong; each ``every``-th is prepared."""
    lay_down(root / "f")
    outcomes = {
        number: check(root, seed + number, (seed + number) % every == 0) for number in range(tables)
    }
    counts = Counter(outcome.split(":")[0] for outcome in outcomes.values())
    wrong = {str(seed + n): text for n, text in outcomes.items() if text not in ("read", "refused")}
    return {
        "tables": tables,
        "stores": sum((seed + number) % every == 0 for number in range(tables)),
        **counts,
        "seeds": dict(list(wrong.items())[:20]),
    }


def main() -> None:
    """Check the tables and print the counts; exit with 1 if one went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=25, help="prepare each so-manieth table")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = check_all(Path(folder), options.tables, options.seed, options.every)
    print(json.dumps(result, indent=1) if options.json else result)
    raise SystemExit(bool(result["seeds"]))


if __name__ == "__main__":
    main()
