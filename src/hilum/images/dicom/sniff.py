"""Whether a file is DICOM, and how its data set is encoded, by its first bytes; imports nothing of DICOM."""

from __future__ import annotations

import struct

PREAMBLE, MAGIC = 128, b"DICM"
HEAD_BYTES = PREAMBLE + len(MAGIC) + 8
"""Bytes at a file's beginning that show whether it is DICOM."""

_FIRST_GROUPS = range(0x0002, 0x0030)
"""Groups with which a data set may begin."""
REPRESENTATIONS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)


def is_dicom(head: bytes) -> bool:
    """Return whether a file whose first HEAD_BYTES these are is DICOM.

    It is if "DICM" follows the preamble, or if it begins as a data set does, for many files lack
    the preamble.
    """
    if head[PREAMBLE : PREAMBLE + 4] == MAGIC:
        return True
    known = encoding(head)
    if known is None or len(head) < 8:
        return False
    if known[0]:
        return True
    group, number, length = struct.unpack_from("<HHL", head)
    return group in (2, 8) and number <= 0x18 and length <= 256 and length % 2 == 0


def encoding(head: bytes) -> tuple[bool, bool] | None:
    """Return whether a data set is explicit and little-endian by its first bytes, None where they are odd."""
    if len(head) < 6:
        return None
    little, big = (int.from_bytes(head[:2], order) for order in ("little", "big"))
    explicit = head[4:6] in REPRESENTATIONS
    if little in _FIRST_GROUPS:
        return explicit, True
    return (True, False) if big in _FIRST_GROUPS and explicit else None
