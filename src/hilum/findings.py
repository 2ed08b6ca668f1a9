"""The clinical vocabularies: their findings, in order, and one spelling for what several sets name differently."""

from __future__ import annotations

from collections.abc import Sequence

CHEXPERT = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""CheXpert's 14 observations in the order of its tables (Irvin 2019, arXiv 1901.07031)."""

NIH14 = (
    "Atelectasis",
    "Cardiomegaly",
    "Pleural Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural Thickening",
    "Hernia",
)
"""ChestX-ray14's findings in the order of its paper (Wang 2017, arXiv 1705.02315), spelled as
below."""

COMPETITION = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
"""The five findings that CheXpert's competition scores (Irvin 2019, table 3)."""

VOCABULARIES = {"chexpert": CHEXPERT, "nih14": NIH14}

SYNONYMS = {
    "effusion": "Pleural Effusion",
    "pleural_effusion": "Pleural Effusion",
    "pleural_thickening": "Pleural Thickening",
    "infiltrate": "Infiltration",
    "oedema": "Edema",
    "pulmonary edema": "Edema",
    "pneumothoraces": "Pneumothorax",
    "airspace opacity": "Lung Opacity",
    "opacity": "Lung Opacity",
}

_KNOWN = {name.casefold(): name for names in VOCABULARIES.values() for name in names}


def canonical(name: str) -> str | None:
    """Return the one spelling used for a finding, or None for a name outside the vocabularies.

    >>> canonical("Effusion"), canonical("pleural_thickening"), canonical("Scoliosis")
    ('Pleural Effusion', 'Pleural Thickening', None)
    """
    folded = name.strip().casefold()
    return _KNOWN.get(folded) or _KNOWN.get(folded.replace("_", " ")) or SYNONYMS.get(folded)


def positions(names: Sequence[str], available: Sequence[str]) -> list[int | None]:
    """Return for each wanted finding its place among the available ones, None where it is absent.

    Both sides are compared by their canonical spelling; a name outside the vocabularies must agree
    exactly.

    >>> positions(["Pleural Effusion", "Hernia"], ["Edema", "Effusion"])
    [1, None]
    """
    places = {canonical(name) or name: place for place, name in enumerate(available)}
    return [places.get(canonical(name) or name) for name in names]
