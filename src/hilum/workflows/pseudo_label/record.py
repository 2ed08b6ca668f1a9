"""The record of pseudo-label rounds, ``rounds.json``: labels, their precision, models kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from hilum.errors import RunError
from hilum.files import inside, read_hashed_json, write_hashed_json
from hilum.metrics.intervals import Interval
from hilum.metrics.results import Estimate
from hilum.training.run_folder import METRICS

ROUNDS = "rounds.json"
"""The file by which a run folder is one of pseudo-label rounds; rewritten at the end of each
round."""
FORMAT = 1
HELD_BACK = "held back labels"
"""Where the truth of ``real_precision`` comes from."""

T = TypeVar("T")
U = TypeVar("U")


class Sides(NamedTuple, Generic[T]):
    """Something of the cells called present, and the same of those called absent."""

    present: T
    absent: T

    def to_json(self, plain: Callable[[T], Any]) -> dict[str, Any]:
        """Return both by name."""
        return {"present": plain(self.present), "absent": plain(self.absent)}


@dataclass(frozen=True)
class FindingRound:
    """What a round did for one finding."""

    present: int
    """Cells labelled present."""
    absent: int
    """Cells labelled absent."""
    abstained: int
    """Cells that could have got a label and got none: between the cuts, or above the cap."""
    cut: Sides[float | None]
    """Lowest probability called present and highest called absent; None where that side adds
    none."""
    reason: str | None
    """Why a side adds none."""
    wanted: Sides[float | None]
    """Share of right calls that was wanted; of a rare finding more of those called absent. None
    where any is taken."""
    validation_precision: Sides[Estimate]
    """Share of right calls among the validation films that the cuts were chosen on."""
    real_precision: Sides[Estimate | None]
    """Share of right labels where the truth is known, with an interval over patients; None where it
    never is."""
    truth_films: int
    """Films with a label of this finding whose truth is known."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        real = self.real_precision.to_json(lambda side: None if side is None else side.to_json())
        return {
            "present": self.present,
            "absent": self.absent,
            "abstained": self.abstained,
            "cut": self.cut.to_json(lambda cut: cut),
            "reason": self.reason,
            "wanted": self.wanted.to_json(lambda share: share),
            "validation_precision": self.validation_precision.to_json(Estimate.to_json),
            "real_precision": {**real, "films": self.truth_films},
        }


@dataclass(frozen=True)
class Agreement:
    """A round's model against the labels that it was given: agreement, which says nothing of the truth."""

    films: int
    auroc_macro: Estimate
    precision_macro: float | None
    recall_macro: float | None
    accuracy_macro: float | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**vars(self), "auroc_macro": self.auroc_macro.to_json()}


@dataclass(frozen=True)
class Round:
    """One round: the labels that it added, and what training with them came to."""

    number: int
    run: str
    """Its run folder, below that of all rounds."""
    validation_auroc: float | None
    """Mean AUROC on validation films; None where no cell was labelled, and so nothing trained."""
    kept: bool
    films: int
    """Films with at least one added label."""
    patients: int
    findings: Mapping[str, FindingRound]
    real_precision_mean: Sides[float | None]
    """Over the findings with labels whose truth is known."""
    on_pseudo_labels: Agreement | None
    """None where nothing was trained."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "round": self.number,
            "run": self.run,
            "validation_auroc": self.validation_auroc,
            "kept": self.kept,
            "films": self.films,
            "patients": self.patients,
            "findings": {name: finding.to_json() for name, finding in self.findings.items()},
            "real_precision_mean": self.real_precision_mean.to_json(lambda mean: mean),
            "on_pseudo_labels": None
            if self.on_pseudo_labels is None
            else self.on_pseudo_labels.to_json(),
        }


@dataclass(frozen=True)
class Target:
    """What the labels were asked to be: the precision of either side, and the confidence of its lower bound."""

    present: float
    absent: float
    level: float


@dataclass(frozen=True)
class Rounds:
    """All rounds so far, from which run they began, and which of them is the model."""

    start: str
    """The run folder that they began with."""
    start_auroc: float
    """Its mean AUROC on validation films."""
    wanted: Target | None
    """None where every film is labelled, however right that is."""
    truth: str | None
    """Where the truth of the added labels is known from; None where it is not."""
    rounds: tuple[Round, ...] = ()

    @property
    def kept(self) -> int:
        """The round whose model is kept; 0 is the start's own."""
        return max((done.number for done in self.rounds if done.kept), default=0)

    @property
    def best(self) -> float:
        """Mean AUROC on validation films of the model that is kept."""
        kept = [
            done.validation_auroc
            for done in self.rounds
            if done.kept and done.validation_auroc is not None
        ]
        return kept[-1] if kept else self.start_auroc

    @property
    def stale(self) -> int:
        """How many rounds in a row, to the last, were not kept."""
        return len(self.rounds) - max(
            (number for number, done in enumerate(self.rounds, 1) if done.kept), default=0
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "format": FORMAT,
            "from": {"run": self.start, "validation_auroc": self.start_auroc},
            "kept": self.kept,
            "wanted": None if self.wanted is None else asdict(self.wanted),
            "truth": self.truth,
            "rounds": [done.to_json() for done in self.rounds],
        }


def write_rounds(folder: Path, rounds: Rounds) -> None:
    """Write ``rounds.json`` into a run folder; equal rounds give equal bytes."""
    write_hashed_json(folder / ROUNDS, rounds.to_json())


def read_rounds(folder: Path) -> Rounds:
    """Read ``rounds.json`` from a run folder.

    Raises:
        RunError: It is missing, damaged, or of a later version.
    """
    path = folder / ROUNDS
    try:
        content = read_hashed_json(inside(folder, ROUNDS))[0]
        if content["format"] > FORMAT:
            raise RunError(
                f"{path} was written by a later Hilum (format {content['format']}): upgrade to read it."
            )
        for done in content["rounds"]:
            inside(folder, done["run"])
        return Rounds(
            start=str(content["from"]["run"]),
            start_auroc=float(content["from"]["validation_auroc"]),
            wanted=None if content["wanted"] is None else Target(**content["wanted"]),
            truth=content["truth"],
            rounds=tuple(map(_round, content["rounds"])),
        )
    except OSError as error:
        raise RunError(
            f"{path} cannot be read ({error.strerror}): give a folder of `hilum pseudo-label`."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        fault = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise RunError(
            f"{path} is damaged ({fault:.160}): delete it and {folder / METRICS}, and run the command that "
            "made it again, which takes finished rounds as they are."
        ) from error


def _round(content: Mapping[str, Any]) -> Round:
    findings = {}
    for name, finding in content["findings"].items():
        real = finding["real_precision"]
        findings[name] = FindingRound(
            present=int(finding["present"]),
            absent=int(finding["absent"]),
            abstained=int(finding["abstained"]),
            cut=_sides(finding["cut"], lambda cut: cut),
            reason=finding["reason"],
            wanted=_sides(finding["wanted"], lambda share: None if share is None else float(share)),
            validation_precision=_sides(finding["validation_precision"], _estimate),
            real_precision=_sides(real, lambda side: None if side is None else _estimate(side)),
            truth_films=int(real["films"]),
        )
    agreement = content["on_pseudo_labels"]
    if agreement is not None:
        auroc = _estimate(agreement["auroc_macro"])
        agreement = Agreement(**{**agreement, "auroc_macro": auroc})
    return Round(
        number=int(content["round"]),
        run=str(content["run"]),
        validation_auroc=content["validation_auroc"],
        kept=bool(content["kept"]),
        films=int(content["films"]),
        patients=int(content["patients"]),
        findings=findings,
        real_precision_mean=_sides(content["real_precision_mean"], lambda mean: mean),
        on_pseudo_labels=agreement,
    )


def _sides(content: Mapping[str, Any], of: Callable[[Any], U]) -> Sides[U]:
    return Sides(of(content["present"]), of(content["absent"]))


def _estimate(content: Mapping[str, Any]) -> Estimate:
    ends = None if content["interval"] is None else Interval(*content["interval"])
    return Estimate(content["value"], ends, int(content["left_out"]), content["reason"])
