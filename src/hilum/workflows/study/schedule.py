"""What a study does next: which cells can start, which rate counts, which cells are lost, how long it will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hilum.workflows.study.cells import RATE, rated
from hilum.workflows.study.plan import StudyPlan
from hilum.workflows.study.record import RUNS, StudyCell

Cells = tuple[StudyCell, ...]


def begun_again(cells: Cells) -> Cells:
    """Return the cells of a study that was left: what ran waits again, and so does what failed.

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
    """Return the cells with all that follows from what has ended: lost ones, and the rates that were chosen.

    A cell fails with what it starts from. Of the rates that the first seed tried, the best on
    validation films counts (the first of equals); its cell waits again, to be measured, and the
    later seeds take that rate. Where a trial that had failed is tried again, the rate is chosen
    again as long as no later seed, nor its self-training, has begun. Pseudo-labels begin with
    the fine-tuning of their seed that counts.
    """
    cells = _lost(cells)
    for group in dict.fromkeys(_group(cell) for cell in cells if cell.kind == "finetune"):
        own = [cell for cell in cells if cell.kind == "finetune" and _group(cell) == group]
        changed = {cell.id: cell for cell in _chosen(own, _self_trained(own[0], cells))}
        cells = tuple(changed.get(cell.id, cell) for cell in cells)
    return _lost(tuple(_following(cell, cells) for cell in cells))


def ready(cells: Cells) -> Cells:
    """Return the cells that can start now, each run once, in the order of the work."""
    by_run: dict[str, StudyCell] = {}
    busy = {cell.run for cell in cells if cell.state == "running"}
    for cell in cells:
        start = start_of(cell, cells)
        begins = (start is None or start.state == "done") and cell.lr is not None
        if begins and cell.state == "waiting" and cell.run not in busy:
            by_run[cell.run] = _counting(cell, by_run.get(cell.run))
    return tuple(by_run.values())


def start_of(cell: StudyCell, cells: Sequence[StudyCell]) -> StudyCell | None:
    """Return the pretraining that a fine-tuning starts from, or the fine-tuning that pseudo-labels begin with.

    None where it is not of this study, or not yet chosen.
    """
    if cell.kind == "pretrain":
        return None
    if cell.kind == "pseudo-label":
        return next((other for other in _begun_with(cell, cells) if other.chosen), None)
    return next(
        (other for other in cells if other.kind == "pretrain" and other.model == cell.model), None
    )


def ended(cells: Cells, run: str, **news: object) -> Cells:
    """Return the cells after news of a run, which all cells that share it hear."""
    return tuple(replace(cell, **news) if cell.run == run else cell for cell in cells)  # type: ignore[arg-type]


def seconds_left(cells: Cells, plan: StudyPlan, jobs: int) -> float | None:
    """Return an estimate of the time left, None before anything has ended that it could be taken from.

    Time is taken in proportion to epochs and to the fraction of the films, from ended cells
    of the same kind and network, else of the same kind.
    """
    left = 0.0
    for cell in _runs(cells):
        if cell.state in ("waiting", "running"):
            rate = _rate(cell, cells, plan)
            if rate is None:
                return None
            left += rate * _work(cell, plan)
    return left / jobs


def _rate(cell: StudyCell, cells: Cells, plan: StudyPlan) -> float | None:
    """Return seconds a unit of work."""
    ended = [other for other in _runs(cells) if other.state == "done" and other.seconds]
    timed = [other for other in ended if other.kind == cell.kind]
    if cell.kind == "pseudo-label":  # its rounds are fine-tunings
        timed = timed or [other for other in ended if other.kind == "finetune"]
    alike = [
        other for other in timed if (other.backbone, other.method) == (cell.backbone, cell.method)
    ]
    used = alike or timed
    work = sum(_work(other, plan) for other in used)
    return sum(other.seconds or 0.0 for other in used) / work if work else None


def _work(cell: StudyCell, plan: StudyPlan) -> float:
    if cell.kind == "pretrain":
        return float(plan.pretrain_epochs_of(cell.model))
    fraction = cell.fraction or 1.0
    if cell.kind == "pseudo-label":  # of all films at most
        return float(plan.rounds_of(cell.model) * plan.epochs_of(cell.model, fraction))
    return fraction * plan.epochs_of(cell.model, fraction)


def _runs(cells: Cells) -> list[StudyCell]:
    return list({cell.run: cell for cell in cells}.values())


def _counting(cell: StudyCell, other: StudyCell | None) -> StudyCell:
    """Of two cells of one run return the one that is measured, if one is."""
    return cell if other is None or cell.chosen else other


def _group(cell: StudyCell) -> tuple[object, ...]:
    return cell.model, cell.fraction, cell.policy, cell.group


def _lost(cells: Cells) -> Cells:
    settled_cells = []
    for cell in cells:
        failed = _failed_start(cell, cells)
        if cell.state == "waiting" and failed is not None:
            what = "pretraining" if failed.kind == "pretrain" else "start"
            cell = replace(cell, state="failed", error=f"its {what} {failed.id} failed")
        settled_cells.append(cell)
    return tuple(settled_cells)


def _failed_start(cell: StudyCell, cells: Cells) -> StudyCell | None:
    """Return what a cell starts from if that has failed; of pseudo-labels the first trial where all have."""
    start = start_of(cell, cells)
    if start is not None:
        return start if start.state == "failed" else None
    trials = _begun_with(cell, cells)
    return trials[0] if trials and all(trial.state == "failed" for trial in trials) else None


def _begun_with(cell: StudyCell, cells: Sequence[StudyCell]) -> list[StudyCell]:
    """Return the fine-tunings that pseudo-labels may begin with: those of their seed, of which one will be chosen."""
    if cell.kind != "pseudo-label":
        return []
    identity = (cell.start, cell.fraction, cell.policy, cell.group, cell.seed)
    return [
        other
        for other in cells
        if other.kind == "finetune" and (*_group(other), other.seed) == identity
    ]


def _self_trained(cell: StudyCell, cells: Cells) -> list[StudyCell]:
    """Return the self-training cells that start from a fine-tuning's group."""
    return [
        other
        for other in cells
        if other.kind == "pseudo-label" and (other.start, *_group(other)[1:]) == _group(cell)
    ]


def _following(cell: StudyCell, cells: Cells) -> StudyCell:
    """Return a waiting pseudo-label cell with its start's rate, in a folder of that rate."""
    if cell.kind != "pseudo-label" or cell.state != "waiting":
        return cell
    start = start_of(cell, cells)
    if start is None:
        return replace(cell, lr=None, chosen=False, run=f"{RUNS}/{cell.id}")
    rate = f"{RATE}{start.lr:g}"
    return replace(
        cell,
        lr=start.lr,
        chosen=True,
        run=f"{RUNS}/{cell.id}{rate if start.run.endswith(rate) else ''}",
    )


def _chosen(group: list[StudyCell], self_trained: list[StudyCell]) -> list[StudyCell]:
    """Return a model's cells at one fraction and policy, with its rate chosen if all trials ended."""
    trials = [cell for cell in group if cell.seed == 0]
    now = next((cell for cell in trials if cell.chosen), None)
    if len(trials) == 1 and now is not None:
        return group
    if not all(_trained(cell) or cell.state == "failed" for cell in trials) or not _open(
        now, [*group, *self_trained]
    ):
        return group
    tried = [cell for cell in trials if _trained(cell)]
    if not tried:
        return [_without_rate(cell) for cell in group]
    best = max(
        tried, key=lambda cell: -1.0 if cell.validation_auroc is None else cell.validation_auroc
    )
    return group if best is now else _taking(best, _unchosen(now, group))


def _trained(cell: StudyCell) -> bool:
    """Whether a trial has been trained; the chosen one may wait or run again to be measured."""
    return cell.state == "done" or (
        cell.state in ("waiting", "running") and cell.validation_auroc is not None
    )


def _open(now: StudyCell | None, group: list[StudyCell]) -> bool:
    """Whether a rate can be chosen or changed: no cell that takes it has begun or is running.

    A chosen trial whose measuring failed stays chosen: measuring chooses nothing.
    """
    if now is None:
        return True
    takes = [cell for cell in group if cell.seed or cell.kind == "pseudo-label"]
    return now.state in ("waiting", "done") and all(cell.state == "waiting" for cell in takes)


def _unchosen(now: StudyCell | None, group: list[StudyCell]) -> list[StudyCell]:
    """Return the cells as they were before a rate was chosen."""
    if now is None:
        return group
    rate = f"{RATE}{now.lr:g}"
    return [
        replace(cell, chosen=False, lr=None, run=cell.run.removesuffix(rate))
        if cell.seed
        else replace(cell, chosen=False, state="done")
        if cell is now
        else cell
        for cell in group
    ]


def _taking(best: StudyCell, group: list[StudyCell]) -> list[StudyCell]:
    """Return the cells with a trial's rate: it waits to be measured, later seeds take its rate."""
    if best.lr is None:
        raise ValueError(f"trial {best.id} has no rate")
    return [
        replace(cell, chosen=True, state="waiting")
        if cell is best
        else rated(cell, best.lr)
        if cell.seed
        else cell
        for cell in group
    ]


def _without_rate(cell: StudyCell) -> StudyCell:
    if cell.seed == 0:
        return cell
    return replace(cell, state="failed", error="no learning rate of its first seed worked")
