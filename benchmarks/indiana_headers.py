"""How the rules for DICOM class the 7,469 real headers of the Indiana collection, a table in torchxrayvision's wheel.

``pip download torchxrayvision==1.5.7 --no-deps``. The table has no pixels, no transfer syntax, no
descriptions of series and studies, and sequences run together: each film counts as one with pixels.
Beside the rules of ``hilum prepare dicom`` stands each rule as the table alone says it.
"""

from __future__ import annotations

import argparse
import ast
import csv
import gzip
import io
import json
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from hilum.images.dicom.header import DicomHeader
from hilum.sources.archive.entering import body_part, left_out
from hilum.sources.archive.film_view import film_view
from hilum.sources.archive.region_words import RegionWords

TABLE = "torchxrayvision/data/nlmcxr_dicom_metadata.csv.gz"
Row = dict[str, str]


def rows_of(wheel: Path) -> list[Row]:
    """Return the table's rows."""
    with zipfile.ZipFile(wheel) as packed:
        text = gzip.decompress(packed.read(TABLE)).decode("utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def several(cell: str) -> tuple[str, ...]:
    """Return the values of a cell that holds one or a list."""
    return tuple(ast.literal_eval(cell)) if cell.startswith("[") else (cell,) if cell else ()


def meanings(cell: str) -> tuple[str, ...]:
    """Return the meanings of a printed sequence of codes."""
    return tuple(word.upper() for word in re.findall(r"Code Meaning\s+LO: '([^']*)'", cell))


def yes(cell: str) -> bool | None:
    """Return what a cell of YES and NO says."""
    return {"YES": True, "NO": False}.get(cell)


def header_of(row: Row) -> DicomHeader:
    """Return the header that a row is of, with pixels."""
    return DicomHeader(
        has_pixels=True,
        sop_class=row["SOP Class UID"],
        modality=row["Modality"],
        image_type=several(row["Image Type"]),
        presentation_intent=row["Presentation Intent Type"],
        conversion_type=row["Conversion Type"],
        capture_maker=bool(row["Secondary Capture Device Manufacturer"]),
        capture_date=bool(row["Date of Secondary Capture"]),
        burned_in=yes(row["Burned In Annotation"]),
        quality_control=yes(row["Quality Control Image"]),
        body_part=row["Body Part Examined"],
        anatomy_codes=meanings(row["Anatomic Region Sequence"]),
        view_position=row["View Position"],
        view_codes=meanings(row["View Code Sequence"]),
        patient_orientation=several(row["Patient Orientation"]),
        frames=int(row["Number of Frames"] or 1),
        rows=int(row["Rows"]),
        columns=int(row["Columns"]),
        photometric=row["Photometric Interpretation"],
        presentation_shape=row["Presentation LUT Shape"],
    )


def window_of(row: Row) -> str:
    """Return how a film says which values are shown: its first valid window, a table, or nothing."""
    centers, widths = several(row["Window Center"]), several(row["Window Width"])
    pairs = [(float(c), float(w)) for c, w in zip(centers, widths, strict=False)]
    if row["LUT Descriptor"]:
        return "table"
    if any(width >= 1 for _, width in pairs):
        return "window"
    return "no valid window" if pairs else "none"


def stated(row: Row) -> str:
    """Return why a row does not enter, by the rule as docs/dicom.md states it and this table's own words."""
    if row["Modality"] not in ("CR", "DX", "RG"):
        return "another modality"
    if row["Body Part Examined"] not in ("", "CHEST", "NON GRID CHEST", "PORTABLE CHEST"):
        return "another body part"
    if row["Secondary Capture Device Manufacturer"].startswith("LUMISYS") or row["Conversion Type"]:
        return "secondary capture"
    return ""


def stated_view(row: Row) -> str:
    """Return a row's view by the rule as docs/dicom.md states it and this table's own words."""
    sides = {"L": "FRONTAL", "R": "FRONTAL", "A": "LATERAL", "P": "LATERAL"}
    tag, across = row["View Position"], several(row["Patient Orientation"])
    by_tag = {
        "PA": "PA",
        "AP": "AP",
        "LL": "LATERAL",
        "RL": "LATERAL",
        "LATERAL": "LATERAL",
        "LARGE LATERAL": "LATERAL",
    }
    by_code = {"postero-anterior": "PA", "left lateral": "LATERAL"}
    code = next((view for words, view in by_code.items() if words in row["View Code Sequence"]), "")
    return by_tag.get(tag) or code or (sides[across[0]] if across else "unknown")


def measure(wheel: Path) -> dict[str, Any]:
    """Return the counts."""
    rows, words = rows_of(wheel), RegionWords()
    headers = [header_of(row) for row in rows]
    reasons = [left_out(header, (), words) for header in headers]
    views = [film_view(header) or "unknown" for header in headers]
    kept = [index for index, reason in enumerate(reasons) if not reason]
    polarity = Counter(
        (headers[index].photometric, headers[index].presentation_shape or "no shape")
        for index in kept
    )
    tagged = [i for i in kept if rows[i]["View Position"] and rows[i]["Patient Orientation"]]
    side = {"PA": "frontal", "AP": "frontal"}
    across = {"L": "frontal", "R": "frontal"}
    contradicting = sum(
        side.get(views[i], "lateral")
        != across.get(several(rows[i]["Patient Orientation"])[0], "lateral")
        for i in tagged
    )
    return {
        "headers": len(rows),
        "kept": len(kept),
        "left_out": dict(Counter(filter(None, reasons)).most_common()),
        "reasons_as_stated": sum(a == stated(row) for a, row in zip(reasons, rows, strict=True)),
        "body_part": dict(Counter(body_part(headers[i], words) or "not stated" for i in kept)),
        "views": dict(Counter(views[i] for i in kept).most_common()),
        "views_by": {
            "view position": sum(bool(rows[i]["View Position"]) for i in kept),
            "patient orientation alone": sum(
                not rows[i]["View Position"] and bool(rows[i]["Patient Orientation"]) for i in kept
            ),
        },
        "views_as_stated": sum(a == stated_view(row) for a, row in zip(views, rows, strict=True)),
        "view_and_orientation_contradict": [contradicting, len(tagged)],
        "polarity": {f"{tag}, {shape}": count for (tag, shape), count in polarity.most_common()},
        "low_values_are_white": sum(headers[i].photometric == "MONOCHROME1" for i in kept),
        "shape_contradicts": polarity["MONOCHROME1", "IDENTITY"]
        + polarity["MONOCHROME2", "INVERSE"],
        "window": dict(Counter(window_of(rows[i]) for i in kept).most_common()),
        "burned_in_not_stated": sum(headers[i].burned_in is None for i in kept),
    }


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path, help="torchxrayvision-1.5.7-py3-none-any.whl")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    result = measure(given.wheel)
    if given.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
