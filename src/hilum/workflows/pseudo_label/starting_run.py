"""The start of pseudo-label rounds: a finished fine-tuning, its options and its stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hilum.counts import counted
from hilum.errors import DataError, OptionError, RunError
from hilum.images.store import Store
from hilum.options import read_options, with_new_names
from hilum.splits import Split
from hilum.training.options_file import OPTIONS, read_options_file
from hilum.training.run_folder import SPLITS, read_metrics
from hilum.workflows.pseudo_label.record import ROUNDS, read_rounds
from hilum.workflows.train.options import FinetuneOptions

ROUND_FOLDERS = "rounds"
"""The folder in which each round has its own."""
REMEDY = "give the folder of a finished `hilum finetune`"


@dataclass(frozen=True)
class StartRun:
    """A finished fine-tuning that rounds begin with."""

    path: Path
    options: FinetuneOptions
    """Its own, with its labelled stores as they are named now."""
    auroc: float
    """Its mean AUROC on validation films."""
    further: tuple[Path, ...]
    """The stores that it had no labels from."""


def start_run(run: Path, data: Sequence[Path]) -> StartRun:
    """Read a finished fine-tuning, and find its stores among those given; of rounds, the run that was kept.

    Raises:
        RunError: There is no such run, it is not finished, or no validation film chose its epoch.
        DataError: A store that it learnt from is not given, or was split anew since.
    """
    path = kept_run(run)
    content, _ = read_options_file(path)
    if "finetune" not in content:
        raise RunError(f"{path} is no fine-tuning: {REMEDY}.")
    try:
        record = content["record"]["data"]
        block = with_new_names("finetune", content["finetune"])
        # Runs of 0.1.0 had no floor of steps: their rounds have none either.
        block = {**block, "train": {"min_steps": 0, **block.get("train", {})}}
        options = read_options(FinetuneOptions, {**block, "out": str(path)}, f"{OPTIONS}: finetune")
        best = read_metrics(path).get("training", {}).get("best", 0)
        finished = "training" in read_metrics(path)
        own = _own_stores(path, record[: len(options.data)], data)
    except (OptionError, KeyError, TypeError, AttributeError, ValueError) as error:
        line = " ".join(repr(error).split())
        raise RunError(
            f"{path / OPTIONS} cannot be followed ({line:.80}): {REMEDY} of this version."
        ) from error
    if not finished:
        raise RunError(
            f"{path} is not finished: run the command that made it again, then this one."
        )
    if best is None:
        raise RunError(
            f"{path} was validated on no film: run `hilum split STORE --val 0.1`, and fine-tune again."
        )
    further = tuple(store for store in data if store not in own)
    return StartRun(path, replace(options, data=own), float(best), further)


def kept_run(run: Path) -> Path:
    """Return the run folder of the model that rounds kept; of any other run, its own folder.

    Raises:
        RunError: The rounds are damaged, or kept the run that they began with, which is not there.
    """
    if not (run / ROUNDS).is_file():
        return run
    rounds = read_rounds(run)
    if rounds.kept:
        return run / rounds.rounds[rounds.kept - 1].run
    if not Path(rounds.start).is_dir():
        raise RunError(
            f"{run} kept the model of {rounds.start}, which is not there: if it was moved, run "
            f"`hilum pseudo-label --from WHERE-IT-IS --out {run}` with the options of then, which takes the new place."
        )
    return kept_run(Path(rounds.start))


def _own_stores(
    run: Path, record: Sequence[Mapping[str, Any]], data: Sequence[Path]
) -> tuple[Path, ...]:
    """Return which of the stores given the run was trained on, in its order.

    Raises:
        DataError: One is not given, or was split anew.
    """
    given = {Store.open(folder).fingerprint: folder for folder in data}
    for store in record:
        folder = given.get(store["fingerprint"])
        if folder is None:
            raise DataError(
                f"{run} was fine-tuned on a store of {counted(store['films'], 'film')} of "
                f"{store['source']}, which is not among "
                "--data: give that store too."
            )
        if Split.load(folder).hash != store["split"]:
            raise DataError(
                f"{folder} was split anew since {run}, so that a patient it learnt from may validate or test now: "
                f"copy split.json of {run / SPLITS} back into the store, or fine-tune again."
            )
    return tuple(given[store["fingerprint"]] for store in record)
