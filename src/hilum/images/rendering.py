"""How a DICOM file's samples become grey: two renderings, and the tag that decides which end is black."""

from __future__ import annotations

from dataclasses import dataclass

from hilum.errors import choose

RENDERINGS = {
    "display": "what a viewer shows: modality step, then the file's own table or window",
    "archive": "stored values from the lowest to the highest, as MIMIC-CXR-JPG and CheXpert were made",
}
POLARITIES = {
    "photometric": "Photometric Interpretation decides: MONOCHROME1 is inverted",
    "shape": "Presentation LUT Shape decides where it is present: INVERSE is inverted, IDENTITY is not",
}


@dataclass(frozen=True)
class Rendering:
    """How DICOM files are rendered; PNG and JPEG files are grey already."""

    name: str = "display"
    """A name of RENDERINGS."""
    polarity: str = "photometric"
    """A name of POLARITIES."""

    def __post_init__(self) -> None:
        """Refuse unknown names.

        Raises:
            OptionError: With what is allowed.
        """
        choose(self.name, RENDERINGS, "rendering")
        choose(self.polarity, POLARITIES, "polarity")


DISPLAY = Rendering()
"""The usual one."""
