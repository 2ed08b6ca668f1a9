"""Options of a phantom data set, and its streams of random numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hilum.errors import OptionError, choose, did_you_mean
from hilum.findings import CHEXPERT
from hilum.phantoms.habits import HABITS

PREVALENCES = {
    "chexpert": "CheXpert's prevalences, co-occurrence, uncertain and unstated rates, by projection",
    "even": "every finding on about a fifth of the films, whatever the projection, age and sex",
    "doubtful": "every finding stated present on about a tenth of the films and uncertain on four tenths",
}
FORMATS = {
    "chexpert": "JPEG films in CheXpert's own layout",
    "dicom": "DICOM files as an archive exports them, with labels keyed by accession number",
}
DEFAULT_UNCERTAIN_TRUTH = 0.5
SMALLEST, LARGEST = 32, 2048

# What a stream of random numbers is for: the last word of its key. Never 0, which numpy's key
# padding would swallow.
COHORT, BODY, POSE, EXPOSURE, DICOM, FINDING = 1, 2, 3, 4, 5, 16


@dataclass(frozen=True)
class PhantomOptions:
    """Options of a phantom data set."""

    count: int = 2000
    """Number of films. A larger count with the same seed begins with the same films."""
    size: int = 64
    """Edge of the square films in pixels."""
    seed: int = 0
    """Random seed; the same seed gives the same bytes."""
    prevalence: str = "chexpert"
    """Prevalence of the findings: ``chexpert``, ``even``, or ``doubtful`` (mostly uncertain)."""
    uncertain_truth: dict[str, float] = field(default_factory=dict)
    """Fraction of a finding's uncertain labels that are truly present; 0.5 unless given."""
    format: str = "chexpert"
    """chexpert (JPEG films in CheXpert's layout) or dicom (files as an archive exports them)."""
    dicom_habits: tuple[str, ...] = ()
    """With --format dicom: vendors' habits of which each study has one; all unless given."""

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            OptionError: A value is out of its range, or a finding is unknown.
        """
        _within("count", self.count, 1, 10_000_000)
        _within("size", self.size, SMALLEST, LARGEST)
        _within("seed", self.seed, 0, 2**32 - 1)
        choose(self.prevalence, PREVALENCES, "prevalence")
        for name, share in self.uncertain_truth.items():
            _check_share(name, share)
        choose(self.format, FORMATS, "format of phantoms")
        for name in self.dicom_habits:
            choose(name, HABITS, "habit of a vendor")
        if self.dicom_habits and self.format != "dicom":
            raise OptionError(
                f"--dicom-habits is given, but --format is {self.format}: give --format dicom too."
            )

    def truth_shares(self) -> np.ndarray:
        """Return the share of uncertain cells truly present, float64 [14] in the order of ``findings.CHEXPERT``."""
        return np.array(
            [self.uncertain_truth.get(name, DEFAULT_UNCERTAIN_TRUTH) for name in CHEXPERT]
        )

    def to_json(self) -> dict[str, object]:
        """Return the options as plain values."""
        return {
            "count": self.count,
            "size": self.size,
            "seed": self.seed,
            "prevalence": self.prevalence,
            "uncertain_truth": dict(sorted(self.uncertain_truth.items())),
            # Left out where they are as before, so that older folders stay what they are.
            **({"format": self.format} if self.format != "chexpert" else {}),
            **({"dicom_habits": list(self.dicom_habits)} if self.dicom_habits else {}),
        }


def stream(seed: int, patient: int, study: int, view: int, purpose: int) -> np.random.Generator:
    """Return the random numbers of one purpose; 0 for study or view means all of them."""
    return np.random.default_rng((seed, patient, study, view, purpose))


def _within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise OptionError(
            f"phantom {name} {value} is not possible: give a whole number from {least} to {most}."
        )


def _check_share(name: str, share: float) -> None:
    allowed = CHEXPERT[1:]
    if name not in allowed:
        raise OptionError(
            f"uncertain_truth names {name!r}: allowed are {', '.join(allowed)}.{did_you_mean(name, allowed)}"
        )
    if not 0.0 <= share <= 1.0:
        raise OptionError(f"uncertain_truth of {name} is {share}: give a share from 0 to 1.")
