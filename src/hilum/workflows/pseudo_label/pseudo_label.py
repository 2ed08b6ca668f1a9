"""Pseudo-labels in rounds: a model labels films, and a new training learns from them too.

Each round is an ordinary fine-tuning run below ``rounds/``, with the table of its labels beside,
and stays on disk whether it helped or not. ``rounds.json`` has the result of each; ``model/`` is
the best one by validation films.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hilum.bundle.model_folder import WEIGHTS, age_notes, load_model, save_model
from hilum.bundle.training_manifest import joined
from hilum.errors import OptionError
from hilum.files import sha256
from hilum.listener import SILENT, Listener
from hilum.options import as_path, plain
from hilum.training.distributed import rank_info
from hilum.training.run_folder import LOG, MODEL, RunFolder, open_run, read_metrics
from hilum.version import __version__
from hilum.workflows.pseudo_label.options import PseudoLabelOptions
from hilum.workflows.pseudo_label.record import (
    ROUNDS,
    Rounds,
    Target,
    read_rounds,
    write_rounds,
)
from hilum.workflows.pseudo_label.rounds import RoundContext, one_round, teacher_of

__all__ = ["PseudoLabelOptions", "PseudoLabelResult", "pseudo_label"]


@dataclass(frozen=True)
class PseudoLabelResult:
    """The rounds' results, and their folder."""

    run: Path
    rounds: Rounds
    already_done: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain values: ``rounds.json`` with the run and the kept model's score."""
        more = {
            "run": str(self.run),
            "validation_auroc": self.rounds.best,
            "already_done": self.already_done,
        }
        return {**more, **self.rounds.to_json()}


def pseudo_label(
    run: str | Path, options: PseudoLabelOptions, listener: Listener = SILENT
) -> PseudoLabelResult:
    """Label films by a fine-tuned run and train again with them, for some rounds.

    Unfinished rounds continue exactly.

    Args:
        run: Folder of a finished fine-tuning, or of such rounds, whose kept model then begins.
        options: Which films are labelled and how, for how long, and where to.
        listener: Receives notes and progress.

    Raises:
        HilumError: The user can mend it; see the line.
        Interrupted: SIGINT or SIGTERM came during training; all is saved.
    """
    run = as_path("run", run)
    if rank_info(os.environ).world_size > 1:
        raise OptionError(
            "pseudo-label starts the processes of its rounds itself, as many as the run had: start one."
        )
    context = RoundContext.of(run, options, listener)
    for note in age_notes(context.start.path):
        listener.note(note)
    with open_run(options.out, _record(context, run)) as folder:
        start, rounds = str(context.start.path.resolve()), None
        if (folder.path / ROUNDS).is_file():
            rounds = read_rounds(folder.path)
            if rounds.start != start:  # it was moved: its weights are the recorded ones
                rounds = replace(rounds, start=start)
                write_rounds(folder.path, rounds)
        if folder.done:
            listener.note(f"{folder.path} is already done")
            done = read_rounds(folder.path) if rounds is None else rounds
            return PseudoLabelResult(folder.path, done, already_done=True)
        if not (folder.path / LOG).is_file():
            context.subsets.keep(folder.path)
            folder.log(event="begun", step=0, total=options.rounds)
        if rounds is None:
            target = None
            if options.abstain:
                target = Target(options.precision, options.absent_precision, options.level)
            rounds = Rounds(start, context.start.auroc, target, None)
        while len(rounds.rounds) < options.rounds and rounds.stale < options.patience:
            if rounds.rounds and rounds.rounds[-1].validation_auroc is None:
                break  # no film was labelled, and none would be in another round
            latest = one_round(context, rounds, folder.path)
            rounds = replace(rounds, rounds=(*rounds.rounds, latest), truth=context.truth)
            _log_round(rounds, folder, listener)
        _finish(context, rounds, folder)
        return PseudoLabelResult(folder.path, rounds)


def _record(context: RoundContext, run: Path) -> dict[str, Any]:
    """Return what options.yaml holds: a config file that repeats the rounds, and their record."""
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


def _log_round(rounds: Rounds, folder: RunFolder, listener: Listener) -> None:
    """Write the latest round to the log and ``rounds.json``, and note its result."""
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
    verdict = "kept"
    if not last.kept:
        stays = f"that of round {rounds.kept}" if rounds.kept else "the one that they began with"
        verdict = f"no better, not kept: the model stays {stays}"
    listener.note(f"round {last.number}: mean AUROC {against}: {verdict}")


def _finish(context: RoundContext, rounds: Rounds, folder: RunFolder) -> None:
    """Save the kept model, with all training films of it and its teachers, and end the run."""
    best = teacher_of(context, rounds, folder.path)
    kept = [folder.path / finished.run for finished in rounds.rounds if finished.kept]
    seen = [load_model(path).seen for path in (context.start.path, *kept)]
    save_model(folder.model, replace(load_model(best), seen=joined(*seen)))
    training = read_metrics(best)["training"]
    summary = {
        "rounds": len(rounds.rounds),
        "kept": rounds.kept,
        "from": rounds.start_auroc,
        "best": rounds.best,
    }
    folder.finish({"training": training, "pseudo_labels": summary})
