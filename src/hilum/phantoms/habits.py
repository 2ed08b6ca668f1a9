"""How vendors write the same film: bits, sign, photometric interpretation, slope, window, compression, company."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Habit:
    """One vendor's way to write a film; what is not named is as in most files."""

    maker: str
    model: str
    modality: str = "DX"
    """DX, CR or RG."""
    bits: int = 12
    """Bits Stored."""
    signed: bool = False
    inverse: bool = False
    """MONOCHROME1: small values are bright."""
    shape: bool = True
    """Whether the Presentation LUT Shape is stated."""
    slope: int = 1
    """1 or -1: with -1 small stored values are large ones."""
    voi: str = "window"
    """window, sigmoid, table (a VOI LUT Sequence beside a window that contradicts it), or none."""
    syntax: str = "native"
    """native, rle, jpeg-lossless or jpeg2000."""
    padding: bool = False
    """A frame of pixel padding around the film."""
    companion: str = ""
    """A second file of the same exposure: for-processing or second-rendering."""
    view_tag: bool = True
    """Whether View Position is filled in; else words and a view code tell it."""


HABITS: dict[str, Habit] = {
    "plain": Habit("Umbra (drawn)", "Plain 12"),
    "signed": Habit("Umbra (drawn)", "Signed 16", bits=16, signed=True),
    "monochrome1": Habit("Penumbra (drawn)", "Inverse", inverse=True),
    "monochrome1-bare": Habit(
        "Penumbra (drawn)", "Plate", modality="CR", bits=10, inverse=True, shape=False
    ),
    "negative-slope": Habit("Lumen (drawn)", "Reader", modality="CR", shape=False, slope=-1),
    "voi-table": Habit("Lumen (drawn)", "Curve", bits=14, voi="table"),
    "sigmoid": Habit("Lumen (drawn)", "Curve S", voi="sigmoid", view_tag=False),
    "no-window": Habit(
        "Obscura (drawn)", "Scan", modality="RG", bits=8, shape=False, voi="none", view_tag=False
    ),
    "jpeg2000": Habit("Candela (drawn)", "Wavelet", syntax="jpeg2000"),
    "jpeg-lossless": Habit("Candela (drawn)", "Lossless", bits=14, syntax="jpeg-lossless"),
    "rle": Habit("Candela (drawn)", "Runs", bits=10, modality="CR", syntax="rle"),
    "padding": Habit("Obscura (drawn)", "Frame", bits=14, padding=True),
    "for-processing": Habit("Umbra (drawn)", "Raw", companion="for-processing"),
    "second-rendering": Habit(
        "Penumbra (drawn)", "Edge", inverse=True, companion="second-rendering"
    ),
}
"""Habits by name; each study of a mix has one of them."""
