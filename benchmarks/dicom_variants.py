"""Are DICOM files of every kind shown as PS3.3 says, the right way round?

Draws one small film as some 400 files (bits, sign, photometric interpretation, presentation shape,
slope, tables, windows, padding, transfer syntaxes, missing tags), reads each with Hilum in both
renderings and both polarities, and compares with a statement of the standard that is written apart
from Hilum (``dicom_statement.py``); with ``--peers`` also with highdicom where it is installed and with
dcmtk's ``dcmj2pnm`` where it is on the path. Exit 1 where Hilum differs from the statement by more than one
grey level, or where a film is the wrong way round.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from dicom_files import LOSSY, Lut, Variant, dicom_bytes, frame
from dicom_peers import by_dcmtk, by_highdicom, dcmtk_version, highdicom_version
from dicom_statement import statement
from hilum.images.read import read_grey
from hilum.images.rendering import POLARITIES, RENDERINGS, Rendering

HEIGHT, WIDTH = 20, 26


def film(bits: int, signed: bool = False, seed: int = 0) -> np.ndarray:
    """Return stored values, int64 [H, W]: a slope with noise over the middle of the range, both ends set."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    shown = 0.15 + 0.7 * (across / WIDTH + down / HEIGHT) / 2 + rng.normal(0, 0.02, (HEIGHT, WIDTH))
    values = np.rint(shown.clip(0, 1) * (2**bits - 1)).astype(np.int64)
    values[0, :2] = 0, 2**bits - 1
    return values - 2 ** (bits - 1) * signed


def variants() -> Iterator[Variant]:
    """Yield all of them."""
    yield from _polarity()
    yield from _depths()
    yield from _syntaxes()
    yield from _windows()
    yield from _tables()
    yield from _padded()
    yield from _incomplete()


def _polarity() -> Iterator[Variant]:
    curve = Lut(0, tuple(int(4095 * (n / 4095) ** 1.5) for n in range(4096)), 12)
    for photometric, shape, falls, voi, signed in product(
        ("MONOCHROME1", "MONOCHROME2"), (None, "IDENTITY", "INVERSE"), (False, True),
        ("table", "window", "none"), (False, True),
    ):  # fmt: skip
        low = -2048 if signed else 0
        slope, intercept = (-1, 4095 + low) if falls else (1, -low)
        yield Variant(
            f"polarity {photometric} shape {shape} slope {slope} {voi} {'signed' if signed else 'unsigned'}",
            film(12, signed), signed=signed, photometric=photometric, shape=shape, slope=slope,
            intercept=intercept, voi_lut=curve if voi == "table" else None,
            windows=((2000,), (3000,)) if voi == "window" else None,
        )  # fmt: skip


def _depths() -> Iterator[Variant]:
    for bits, signed, windowed, allocated in product(
        range(8, 17), (False, True), (False, True), (8, 16)
    ):
        if bits > allocated:
            continue
        centre = 2 ** (bits - 1) * (not signed)
        yield Variant(
            f"{bits} bits of {allocated} {'signed' if signed else 'unsigned'} {'window' if windowed else 'no window'}",
            film(bits, signed), bits, signed, allocated,
            windows=((centre,), (2**bits * 0.6,)) if windowed else None,
            overlay=allocated == 16 and bits < 16 and not signed,
        )  # fmt: skip


def _syntaxes() -> Iterator[Variant]:
    depths: dict[str, tuple[tuple[int, bool], ...]] = {
        **dict.fromkeys(("implicit", "explicit", "big-endian", "deflated", "deflated-frame", "rle"),
                        ((8, False), (12, False), (12, True), (16, False), (16, True))),
        "jpeg-8": ((8, False),), "jpeg-12": ((12, False),),
        **dict.fromkeys(("lossless", "lossless-1"), ((8, False), (10, False), (12, False), (12, True), (16, True))),
        **dict.fromkeys(("jpeg-ls", "jpeg-ls-near"), ((8, False), (10, False), (12, False), (16, False))),
        **dict.fromkeys(("jpeg-2000", "jpeg-2000-lossy"),
                        ((8, False), (12, False), (12, True), (15, False), (16, False), (16, True))),
        **dict.fromkeys(("htj2k", "htj2k-rpcl", "htj2k-lossy"), ((8, False), (12, False), (16, False), (16, True))),
        **dict.fromkeys(("jpeg-xl", "jpeg-xl-lossy"), ((8, False), (12, False), (16, False))),
    }  # fmt: skip
    for (name, kinds), photometric in product(depths.items(), ("MONOCHROME1", "MONOCHROME2")):
        for bits, signed in kinds:
            yield Variant(
                f"{name} {bits} bits {'signed' if signed else 'unsigned'} {photometric}", film(bits, signed), bits,
                signed, 8 if bits == 8 else 16, name, photometric,
                windows=((2 ** (bits - 1) * (not signed),), (2**bits * 0.7,)),
            )  # fmt: skip
    for name in ("jpeg-ls", "jpeg-2000", "htj2k", "rle", "big-endian"):
        yield Variant(
            f"{name} with an overlay in the high bits", film(12), syntax=name, overlay=True
        )


def _windows() -> Iterator[Variant]:
    kinds: dict[str, dict[str, Any]] = {
        "linear": {"windows": ((2048,), (2000,))},
        "linear function": {"windows": ((2048,), (2000,)), "function": "LINEAR"},
        "exact": {"windows": ((2048.5,), (1800.5,)), "function": "LINEAR_EXACT"},
        "sigmoid": {"windows": ((2048,), (1000,)), "function": "SIGMOID"},
        "empty function": {"windows": ((2048,), (2000,)), "function": ""},
        "unknown function": {"windows": ((2048,), (2000,)), "function": "LOG"},
        "several": {"windows": ((1500, 3000), (2500, 100))},
        "first of width 0": {"windows": ((100, 2048), (0, 2500))},
        "negative first width": {"windows": ((100, 2048), (-5, 2500))},
        "more centres": {"windows": ((1500, 3000, 10), (2500,))},
        "width 1": {"windows": ((2048,), (1,)), "slope": 0.001, "intercept": 2046},
        "width below 1": {"windows": ((0.5,), (0.9,)), "slope": 0.00024, "intercept": 0},
        "exact below 1": {"windows": ((0.5,), (0.6,)), "slope": 0.00024, "intercept": 0, "function": "LINEAR_EXACT"},
        "sigmoid below 1": {"windows": ((0.5,), (0.3,)), "slope": 0.00024, "intercept": 0, "function": "SIGMOID"},
        "falling slope": {"windows": ((-17000,), (25000,)), "slope": -10, "intercept": 3000},
        "fractional slope": {"windows": ((500,), (700,)), "slope": 0.2442, "intercept": 0.5},
        "absurdly high": {"windows": ((60000,), (100,))},
        "absurdly low": {"windows": ((-60000,), (100,))},
        "absurdly narrow": {"windows": ((2048,), (2,))},
        "absurdly wide": {"windows": ((2048,), (400000,))},
        "none and 12 of 16 bits": {"bits": 16},
        "slope 0": {"slope": 0, "windows": ((2048,), (2000,))},
    }  # fmt: skip
    for (name, tags), photometric in product(kinds.items(), ("MONOCHROME1", "MONOCHROME2")):
        yield Variant(f"window {name} {photometric}", film(12), photometric=photometric, **tags)


def _tables() -> Iterator[Variant]:
    rising = tuple(range(0, 4096))
    curve = tuple(int(4095 / (1 + np.exp(-(n - 2048) / 500))) for n in rising)
    eight = tuple(n >> 4 for n in rising)
    kinds: dict[str, dict[str, Any]] = {
        "words": {"voi_lut": Lut(0, curve, 12)},
        "OW": {"voi_lut": Lut(0, curve, 12, form="OW")},
        "bytes": {"voi_lut": Lut(0, eight, 8, form="bytes")},
        "8 bits in words": {"voi_lut": Lut(0, eight, 8)},
        "16 bits said of 12": {"voi_lut": Lut(0, curve, 16)},
        "8 bits said of 12": {"voi_lut": Lut(0, curve, 8)},
        "fewer entries than said": {"voi_lut": Lut(0, curve[:3000], 12, said_count=4096)},
        "beside a window": {"voi_lut": Lut(0, curve, 12), "windows": ((500,), (10,))},
        "first value above 0": {"voi_lut": Lut(600, curve[600:3300], 12)},
        "first value below 0": {"voi_lut": Lut(-2048, curve, 12), "signed": True},
        "signed samples, large entries": {"voi_lut": Lut(-2048, tuple(16 * n for n in rising), 16), "signed": True},
        "65536 entries": {"voi_lut": Lut(0, tuple(range(65536)), 16), "bits": 16, "samples": film(16)},
        "falling": {"voi_lut": Lut(0, curve[::-1], 12)},
        "after a fractional slope": {"voi_lut": Lut(0, curve[::4], 12), "slope": 0.25, "intercept": 0},
        "after a negative intercept": {"voi_lut": Lut(-1024, curve, 12), "slope": 1, "intercept": -1024},
        "modality": {"modality_lut": Lut(0, curve, 12)},
        "modality, window": {"modality_lut": Lut(0, curve, 12), "windows": ((2000,), (3000,))},
        "modality falling, window": {"modality_lut": Lut(0, curve[::-1], 12), "windows": ((2000,), (3000,))},
        "modality OW": {"modality_lut": Lut(0, curve, 16, form="OW")},
        "modality signed": {"modality_lut": Lut(-2048, curve, 12), "signed": True},
        "modality and VOI": {
            "modality_lut": Lut(0, tuple(n // 2 for n in rising), 11), "voi_lut": Lut(0, curve[::2], 12),
        },
    }  # fmt: skip
    for (name, tags), photometric, syntax in product(
        kinds.items(), ("MONOCHROME1", "MONOCHROME2"), ("explicit", "big-endian", "implicit")
    ):
        tags = {"samples": film(12, tags.get("signed", False)), **tags}
        yield Variant(
            f"table {name} {photometric} {syntax}", photometric=photometric, syntax=syntax, **tags
        )


def _padded() -> Iterator[Variant]:
    kinds: dict[str, dict[str, Any]] = {
        "0": {"padding": 0, "at": 0},
        "the largest": {"padding": 4095, "at": 4095},
        "a range": {"padding": 4000, "padding_limit": 4095, "at": 4050},
        "a range said backwards": {"padding": 4095, "padding_limit": 4000, "at": 4050},
        "below 0": {"padding": -2048, "at": -2048, "signed": True},
        "16 bits of 12, below 0": {"padding": -2000, "at": -2000, "signed": True},
    }
    for (name, tags), photometric, windowed in product(
        kinds.items(), ("MONOCHROME1", "MONOCHROME2"), (False, True)
    ):
        tags = dict(tags)
        signed, at = tags.get("signed", False), tags.pop("at")
        samples = film(12, signed)
        samples[:, :6] = at
        centre = 0 if signed else 2048
        yield Variant(
            f"padding {name} {photometric} {'window' if windowed else 'no window'}", samples,
            photometric=photometric, windows=((centre,), (3000,)) if windowed else None, **tags,
        )  # fmt: skip


def _incomplete() -> Iterator[Variant]:
    window = {"windows": ((2048,), (3000,))}
    for tag in (
        "HighBit",
        "PixelRepresentation",
        "SamplesPerPixel",
        "BitsStored",
        "SOPClassUID",
        "Modality",
    ):
        bits = {"bits": 16, "samples": film(16)} if tag == "BitsStored" else {"samples": film(12)}
        left_out = ("BitsStored", "HighBit") if tag == "BitsStored" else (tag,)
        yield Variant(
            f"without {tag}", left_out=left_out, photometric="MONOCHROME1", **bits, **window
        )
    for syntax in ("implicit", "explicit", "big-endian"):
        yield Variant(
            f"without preamble, {syntax}", film(12), syntax=syntax, preamble=False, **window
        )
    yield Variant("one frame said", film(12), tags={"NumberOfFrames": "1"}, **window)
    yield Variant("three frames said", film(12), tags={"NumberOfFrames": "3"}, **window)


def decoded(variant: Variant) -> np.ndarray:
    """Return stored values as a decoder shall give them: the drawn ones, those of the frame where it is lossy."""
    if variant.syntax not in LOSSY:
        return np.asarray(variant.samples)
    data = frame(variant)
    decoders = {
        "jpeg-8": imagecodecs.jpeg8_decode, "jpeg-12": imagecodecs.jpeg8_decode,
        "jpeg-ls-near": imagecodecs.jpegls_decode, "jpeg-2000-lossy": imagecodecs.jpeg2k_decode,
        "htj2k-lossy": imagecodecs.htj2k_decode, "jpeg-xl-lossy": imagecodecs.jpegxl_decode,
    }  # fmt: skip
    values = np.asarray(decoders[variant.syntax](data)).astype(np.int64)
    low = -(2 ** (variant.bits - 1)) if variant.signed else 0
    return values.clip(low, low + 2**variant.bits - 1)  # a lossy codec may overshoot


def compare(kinds: list[Variant], folder: Path, with_peers: bool) -> dict[str, Any]:
    """Write each file, read it in every way, and count what agrees."""
    compared, differing, wrong_way, unread = 0, [], [], []
    peers = {"highdicom": by_highdicom, "dcmtk": by_dcmtk} if with_peers else {}
    agree: dict[str, Counter[str]] = {name: Counter() for name in peers}
    disagree: dict[str, list[str]] = {name: [] for name in peers}
    for number, variant in enumerate(kinds):
        path = folder / f"{number:04d}.dcm"
        path.write_bytes(dicom_bytes(variant))
        samples = decoded(variant).tolist()
        stated = replace(variant, bits=16) if "BitsStored" in variant.left_out else variant
        for name, polarity in product(RENDERINGS, POLARITIES):
            right = np.array(statement(stated, samples, name, polarity)) * 255
            label = f"{variant.name}: {name}, {polarity}"
            compared += 1
            try:
                grey = read_grey(path, rendering=Rendering(name, polarity)).astype(np.float64)
            except Exception as error:  # noqa: BLE001 - counted
                unread.append(f"{label}: {error}")
                continue
            difference = float(np.abs(grey - right).max())
            if difference > 1:
                differing.append(f"{label}: {difference:.0f} grey levels")
            if right.std() > 1 and np.corrcoef(grey.ravel(), right.ravel())[0, 1] < 0:
                wrong_way.append(label)
            if (name, polarity) == ("display", "photometric"):
                for peer, read in peers.items():
                    theirs = read(path, variant)
                    if theirs is None:
                        agree[peer]["cannot read"] += 1
                    elif np.abs(theirs - right).max() <= 1.01:
                        agree[peer]["agrees"] += 1
                    else:
                        agree[peer]["differs"] += 1
                        disagree[peer].append(f"{variant.name}: {np.abs(theirs - right).max():.0f}")
    versions = {"highdicom": highdicom_version, "dcmtk": dcmtk_version}
    return {
        "variants": len(kinds),
        "of_polarity": sum(kind.name.startswith("polarity") for kind in kinds),
        "compared": compared,
        "differing": differing,
        "wrong_way_round": wrong_way,
        "unread": unread,
        "peers": {
            peer: {"version": versions[peer](), **agree[peer], "differing": disagree[peer]}
            for peer in peers
        },
    }


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="take every n-th variant")
    parser.add_argument("--peers", action="store_true", help="read with highdicom and dcmtk too")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = compare(list(variants())[:: options.every], Path(folder), options.peers)
    faults = [*result["differing"], *result["wrong_way_round"], *result["unread"]]
    for line in faults:
        print(line)
    print(
        f"{result['variants']} files ({result['of_polarity']} of polarity), {result['compared']} comparisons: "
        f"{len(result['differing'])} differ, {len(result['wrong_way_round'])} the wrong way round, "
        f"{len(result['unread'])} not read"
    )
    for peer, shown in result["peers"].items():
        print(peer, {name: value for name, value in shown.items() if name != "differing"})
        for line in shown["differing"]:
            print(f"  {line}")
    if options.json:
        print(json.dumps(result))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
