"""Rounds of pseudo-labels: a model labels films that have no label, training starts again with them, the better stays.

Each round is an ordinary fine-tuning run below ``rounds/``, with the table of its labels beside,
and is kept whether it helped or not; ``rounds.json`` says what each came to, and ``model/`` is the
best one's by validation films.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hilum.bundle.model_folder import WEIGHTS, load_model, save_model
from hilum.bundle.training_manifest import joined
from hilum.errors import OptionError
from hilum.files import sha256
from hilum.listener import SILENT, Listener
from hilum.options import as_path, plain
from hilum.training.distributed import place_in
from hilum.training.run_folder import LOG, MODEL, RunFolder, open_run, read_metrics
from hilum.version import __version__
from hilum.workflows.pseudo_label.options import PseudoLabelOptions
from hilum.workflows.pseudo_label.record import (
    ROUNDS,
    Round,
    Rounds,
    Target,
    read_rounds,
    write_rounds,
)
from hilum.workflows.pseudo_label.rounds import RoundContext, one_round, teacher_of

__all__ = ["PseudoLabelOptions", "PseudoLabelResult", "pseudo_label"]


@dataclass(frozen=True)
class PseudoLabelResult:
    """What rounds came to, and where they lie."""

    run: Path
    rounds: Rounds
    already_done: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values: ``rounds.json`` with the run and the score of what was kept."""
        more = {
            "run": str(self.run),
            "validation_auroc": self.rounds.best,
            "already_done": self.already_done,
        }
        return {**more, **self.rounds.to_json()}


def pseudo_label(
    run: str | Path, options: PseudoLabelOptions, listener: Listener = SILENT
) -> PseudoLabelResult:
    """Label films by a fine-tuned run and train again with them, for some rounds; what is unfinished continues exactly.

    Args:
        run: Folder of a finished fine-tuning, or of such rounds, whose kept model then begins.
        options: Which films are labelled and how, for how long, and where to.
        listener: Hears notes and progress.

    Raises:
        HilumError: The user can mend it; see the line.
        Interrupted: SIGINT or SIGTERM came during training; all is saved.
    """
    run = as_path("run", run)
    if place_in(os.environ).count > 1:
        raise OptionError(
            "pseudo-label starts the processes of its rounds itself, as many as the run had: start one."
        )
    context = RoundContext.of(run, options, listener)
    with open_run(options.out, _record(context, run)) as folder:
        if folder.done:
            listener.note(f"{folder.path} is already done")
            return PseudoLabelResult(folder.path, read_rounds(folder.path), already_done=True)
        rounds = _begun(context, folder)
        while not _over(rounds, options):
            rounds = _with(rounds, one_round(context, rounds, folder.path), context)
            _tell(rounds, folder, listener)
        _finish(context, rounds, folder)
        return PseudoLabelResult(folder.path, rounds)


def _record(context: RoundContext, run: Path) -> dict[str, Any]:
    """Return what options.yaml holds: a config file that repeats the rounds, and what they were made with."""
    block = plain({"from": run, **asdict(context.options)})
    del block["out"]
    teacher = sha256(context.start.path / MODEL / WEIGHTS)
    made_with = {
        "hilum": __version__,
        "processes": 1,
        "from": teacher,
        "data": [asdict(store) for store in context.subsets.record()],
    }
    return {"pseudo-label": block, "record": made_with}


def _begun(context: RoundContext, folder: RunFolder) -> Rounds:
    """Return the rounds that were finished before."""
    if not (folder.path / LOG).is_file():
        context.subsets.keep(folder.path)
        folder.log(event="begun", step=0, total=context.options.rounds)
    if (folder.path / ROUNDS).is_file():
        return read_rounds(folder.path)
    options, start = context.options, context.start
    wanted = Target(options.precision, options.absent_precision, options.level)
    return Rounds(str(start.path.resolve()), start.auroc, wanted if options.abstain else None, None)


def _over(rounds: Rounds, options: PseudoLabelOptions) -> bool:
    """Whether there is nothing left to do: enough rounds, or enough without gain, or no film was labelled."""
    nothing = bool(rounds.rounds) and rounds.rounds[-1].validation_auroc is None
    return nothing or len(rounds.rounds) >= options.rounds or rounds.stale >= options.patience


def _with(rounds: Rounds, found: Round, context: RoundContext) -> Rounds:
    return replace(rounds, rounds=(*rounds.rounds, found), truth=context.truth)


def _tell(rounds: Rounds, folder: RunFolder, listener: Listener) -> None:
    """Write the last round down and say what it came to."""
    last = rounds.rounds[-1]
    before = replace(rounds, rounds=rounds.rounds[:-1])
    folder.log(
        event="round",
        step=last.number,
        score=last.validation_auroc,
        kept=last.kept,
        films=last.films,
    )
    write_rounds(folder.path, rounds)
    if last.validation_auroc is None:
        listener.note(
            f"round {last.number}: no finding reaches the wanted precision, so no film is labelled: ended"
        )
        return
    against = f"{last.validation_auroc:.4f} on validation films, {before.best:.4f} before"
    verdict = "kept" if last.kept else f"no better, not kept: the model stays {_named(rounds.kept)}"
    listener.note(f"round {last.number}: mean AUROC {against}: {verdict}")


def _named(kept: int) -> str:
    return f"that of round {kept}" if kept else "the one that they began with"


def _finish(context: RoundContext, rounds: Rounds, folder: RunFolder) -> None:
    """Put the kept model in its place, with all films that it or its teachers have seen, and end the run."""
    kept = [one for one in rounds.rounds if one.kept]
    model = load_model(teacher_of(context, rounds, folder.path))
    before = [
        load_model(path).seen
        for path in (context.start.path, *(folder.path / one.run for one in kept))
    ]
    save_model(folder.model, replace(model, seen=joined(*before)))
    training = read_metrics(teacher_of(context, rounds, folder.path))["training"]
    told = {
        "rounds": len(rounds.rounds),
        "kept": rounds.kept,
        "from": rounds.start_auroc,
        "best": rounds.best,
    }
    folder.finish({"training": training, "pseudo_labels": told})
