"""A study's schedule: which cells can start, the chosen rates, lost cells, the time left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hilum.workflows.study.cells import RATE, rated
from hilum.workflows.study.plan import StudyPlan
from hilum.workflows.study.record import RUNS, StudyCell

Cells = tuple[StudyCell, ...]


def begun_again(cells: Cells) -> Cells:
    """Return the cells of an interrupted study: those that ran or failed wait again.

    A trial that was chosen, and waits to be measured, keeps the time that its training took.
    """
    return tuple(
        cell
        if cell.state == "done"
        else replace(
            cell,
            state="waiting",
            error=None,
            seconds=None if cell.validation_auroc is None else cell.seconds,
        )
        for cell in cells
    )


def settled(cells: Cells) -> Cells:
    """Return the cells with what follows from ended ones: lost cells and chosen rates.

    A cell fails with what it starts from. Of the rates that the first seed tried, the best on
    validation films counts (the first of equals); its cell waits again, to be measured, and the
    later seeds take that rate. Where a trial that had failed is tried again, the rate is chosen
    again as long as no later seed, nor its self-training, has begun. Pseudo-labels begin with
    the fine-tuning of their seed that counts.
    """
    cells = _lost(cells)
    for group in dict.fromkeys(_group(cell) for cell in cells if cell.kind == "finetune"):
        own = [cell for cell in cells if cell.kind == "finetune" and _group(cell) == group]
        self_trained = [  # from this group
            cell
            for cell in cells
            if cell.kind == "pseudo-label" and (cell.start, *_group(cell)[1:]) == group
        ]
        changed = {cell.id: cell for cell in _with_best_rate(own, self_trained)}
        cells = tuple(changed.get(cell.id, cell) for cell in cells)
    following = []
    for cell in cells:
        if cell.kind == "pseudo-label" and cell.state == "waiting":
            start = start_of(cell, cells)
            rate = "" if start is None else f"{RATE}{start.lr:g}"
            in_name = start is not None and start.run.endswith(rate)  # several rates are tried
            cell = replace(
                cell,
                lr=None if start is None else start.lr,
                chosen=start is not None,
                run=f"{RUNS}/{cell.id}{rate if in_name else ''}",
            )
        following.append(cell)
    return _lost(tuple(following))


def ready(cells: Cells) -> Cells:
    """Return the cells that can start now, each run once, in the order of the work."""
    by_run: dict[str, StudyCell] = {}
    busy = {cell.run for cell in cells if cell.state == "running"}
    for cell in cells:
        start = start_of(cell, cells)
        begins = (start is None or start.state == "done") and cell.lr is not None
        if begins and cell.state == "waiting" and cell.run not in busy:
            # Of two cells of one run, the one that is to be measured.
            by_run[cell.run] = cell if cell.chosen else by_run.get(cell.run, cell)
    return tuple(by_run.values())


def start_of(cell: StudyCell, cells: Sequence[StudyCell]) -> StudyCell | None:
    """Return the run that a fine-tuning or pseudo-label cell starts from.

    None where it is not of this study, or not yet chosen.
    """
    if cell.kind == "pretrain":
        return None
    if cell.kind == "pseudo-label":
        return next((other for other in _begun_with(cell, cells) if other.chosen), None)
    return next(
        (other for other in cells if other.kind == "pretrain" and other.model == cell.model), None
    )


def ended(cells: Cells, run: str, **values: object) -> Cells:
    """Return the cells with the given values in all cells of a run."""
    return tuple(replace(cell, **values) if cell.run == run else cell for cell in cells)  # type: ignore[arg-type]


def seconds_left(cells: Cells, plan: StudyPlan, jobs: int) -> float | None:
    """Return an estimate of the time left, None before a similar run has ended.

    Time is taken in proportion to epochs and to the fraction of the films, from ended cells
    of the same kind and network, else of the same kind.
    """
    left, runs = 0.0, list({cell.run: cell for cell in cells}.values())
    done = [cell for cell in runs if cell.state == "done" and cell.seconds]
    for cell in runs:
        if cell.state not in ("waiting", "running"):
            continue
        timed = [other for other in done if other.kind == cell.kind]
        if cell.kind == "pseudo-label":  # its rounds are fine-tunings
            timed = timed or [other for other in done if other.kind == "finetune"]
        network = (cell.backbone, cell.method)
        alike = [other for other in timed if (other.backbone, other.method) == network]
        work = sum(_work(other, plan) for other in alike or timed)
        if not work:
            return None
        seconds = sum(other.seconds or 0.0 for other in alike or timed)
        left += seconds / work * _work(cell, plan)
    return left / jobs


def _work(cell: StudyCell, plan: StudyPlan) -> float:
    if cell.kind == "pretrain":
        crops = plan.pretrain[str(cell.method)].options.train.crops
        return float(plan.pretrain_epochs_of(cell.model) or crops or 0)
    fraction = cell.fraction or 1.0
    if cell.kind == "pseudo-label":  # of all films at most
        return float(plan.rounds_of(cell.model) * plan.epochs_of(cell.model, fraction))
    return fraction * plan.epochs_of(cell.model, fraction)


def _group(cell: StudyCell) -> tuple[object, ...]:
    return cell.model, cell.fraction, cell.policy, cell.group


def _lost(cells: Cells) -> Cells:
    settled_cells = []
    for cell in cells:
        failed, trials = start_of(cell, cells), _begun_with(cell, cells)
        if failed is None and trials and all(trial.state == "failed" for trial in trials):
            failed = trials[0]
        if cell.state == "waiting" and failed is not None and failed.state == "failed":
            what = "pretraining" if failed.kind == "pretrain" else "start"
            cell = replace(cell, state="failed", error=f"its {what} {failed.id} failed")
        settled_cells.append(cell)
    return tuple(settled_cells)


def _begun_with(cell: StudyCell, cells: Sequence[StudyCell]) -> list[StudyCell]:
    """Return the fine-tunings that pseudo-labels may start from: the trials of their seed."""
    if cell.kind != "pseudo-label":
        return []
    identity = (cell.start, cell.fraction, cell.policy, cell.group, cell.seed)
    return [
        other
        for other in cells
        if other.kind == "finetune" and (*_group(other), other.seed) == identity
    ]


def _with_best_rate(group: list[StudyCell], self_trained: list[StudyCell]) -> list[StudyCell]:
    """Return a model's cells at one fraction and policy, with its rate chosen if all trials ended.

    The rate changes as long as no cell that takes it has begun. A chosen trial whose measuring
    failed stays chosen: measuring chooses nothing.
    """
    trials = [cell for cell in group if cell.seed == 0]
    tried = [  # trained ones; the chosen one may wait or run again to be measured
        cell
        for cell in trials
        if cell.state == "done"
        or (cell.state in ("waiting", "running") and cell.validation_auroc is not None)
    ]
    now = next((cell for cell in trials if cell.chosen), None)
    if len(trials) == 1 and now is not None:
        return group
    if not all(cell in tried or cell.state == "failed" for cell in trials):
        return group
    takers = [cell for cell in group if cell.seed] + self_trained
    if now is not None and (
        now.state not in ("waiting", "done") or any(cell.state != "waiting" for cell in takers)
    ):
        return group
    if not tried:
        error = "no learning rate of its first seed worked"
        return [replace(cell, state="failed", error=error) if cell.seed else cell for cell in group]
    best = max(  # the first of equals
        tried, key=lambda cell: -1.0 if cell.validation_auroc is None else cell.validation_auroc
    )
    if best is now:
        return group
    if best.lr is None:
        raise ValueError(f"trial {best.id} has no rate")
    changed = []
    for cell in group:
        if cell.seed:  # a later seed, whose folder may have the name of the earlier choice
            run = cell.run if now is None else cell.run.removesuffix(f"{RATE}{now.lr:g}")
            cell = rated(replace(cell, run=run), best.lr)
        elif cell is best:  # to be measured
            cell = replace(cell, chosen=True, state="waiting")
        elif cell is now:
            cell = replace(cell, chosen=False, state="done")
        changed.append(cell)
    return changed
