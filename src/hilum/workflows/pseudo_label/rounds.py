"""One round of pseudo-labels: thresholds, labels, a training from the same start, its quality."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.arrays import BoolArray, Rows
from hilum.bundle.model_folder import WEIGHTS
from hilum.bundle.predictor import Predictor
from hilum.catalog import UNCERTAIN
from hilum.counts import counted
from hilum.errors import DataError, OptionError
from hilum.files import sha256
from hilum.images.films import Films
from hilum.labels import MULTICLASS, SELF_TRAIN, policies
from hilum.listener import Listener
from hilum.metrics.precision_thresholds import Cut
from hilum.training.run_folder import CHECKPOINTS, MODEL, PSEUDO_LABELS
from hilum.workflows.data.pseudo_label_table import (
    NAME,
    once,
    read_pseudo_labels,
    refuse_two_of_a_name,
)
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.data.targets import training_labels
from hilum.workflows.pseudo_label.label_quality import (
    Added,
    agreement,
    finding_rounds,
    mean_precision,
)
from hilum.workflows.pseudo_label.options import PseudoLabelOptions
from hilum.workflows.pseudo_label.record import HELD_BACK, Round, Rounds
from hilum.workflows.pseudo_label.starting_run import ROUND_FOLDERS, StartRun, start_run
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.labelling import called, class_counts_of, cuts_of, label_films
from hilum.workflows.train.options import FinetuneOptions


@dataclass(frozen=True)
class RoundContext:
    """What all rounds have in common."""

    start: StartRun
    options: PseudoLabelOptions
    films: Films
    """Of the run's own stores, then of the further ones."""
    subsets: Subsets
    listener: Listener

    @staticmethod
    def of(run: Path, options: PseudoLabelOptions, listener: Listener) -> RoundContext:
        """Read the run and open the stores.

        Raises:
            HilumError: Rounds cannot begin with these.
        """
        start = start_run(run, options.data)
        films = Films.open([*start.options.data, *start.further])
        context = RoundContext(start, options, films, Subsets.of(films), listener)
        context.refuse_impossible()
        return context

    def refuse_impossible(self) -> None:
        """Raise a HilumError for a multiclass run, other preparation, or no film left to label."""
        labels = self.start.options.labels
        if MULTICLASS in policies(self.films.findings, labels.uncertain, labels.per_finding):
            raise OptionError(
                f"{self.start.path} learnt uncertain labels as a class of its own (multiclass), which no pseudo-label "
                "is: begin with a run of another --labels.uncertain."
            )
        Predictor.load(self.start.path, self.options.device).refuse_other_preparation(self.films)
        refuse_two_of_a_name(self.films.catalog)
        if not self.open.any():
            raise DataError(
                f"every training film has labels that {self.start.path} learnt from: "
                "give a run of a --fraction below 1, or further stores as --data."
            )

    @cached_property
    def own(self) -> BoolArray:
        """Whether a film's own labels were learnt from, [N]."""
        options, chosen = self.start.options, np.zeros(len(self.films), np.bool_)
        chosen[
            self._of_own_stores(self.subsets.rows("train", options.fraction, options.subset_seed))
        ] = True
        return chosen

    @cached_property
    def validation(self) -> Rows:
        """The validation films of the run's own stores."""
        return self._of_own_stores(self.subsets.needed("val"))

    def _of_own_stores(self, rows: Rows) -> Rows:
        first_further = int(self.films.starts[len(self.start.options.data)])
        return rows[rows < first_further]

    @cached_property
    def open(self) -> BoolArray:
        """Whether a cell of a training film may get a pseudo-label, [N, F]: no label counts for it.

        An uncertain label is one, which the policy decides about, unless that is to train the model
        by itself.
        """
        labels = self.start.options.labels
        names = policies(self.films.findings, labels.uncertain, labels.per_finding)
        left = np.array([name == SELF_TRAIN for name in names])
        uncertain = (self.films.labels == UNCERTAIN) & ~left
        training = np.zeros(len(self.films), np.bool_)
        training[once(self.films, self.subsets.rows("train"))] = True
        used = (training_labels(self.films, labels)[1] > 0) | uncertain
        free: BoolArray = training[:, None] & ~(used & self.own[:, None])
        return free

    @cached_property
    def labelled(self) -> dict[str, tuple[float, float]]:
        """Present and absent cells by finding among the labels that are learnt from."""
        targets, weights = training_labels(self.films, self.start.options.labels)
        return class_counts_of(targets[self.own], weights[self.own], self.films.findings)

    @cached_property
    def truth(self) -> str | None:
        """Where the truth of open cells is known from, None where it is not."""
        added = Added(
            self.films, self.films.findings, self.open, np.empty(self.open.shape, np.float32)
        )
        return HELD_BACK if added.truth(self.start.options.labels.unstated)[1].any() else None

    def told_apart(self, cells: pd.DataFrame) -> pd.DataFrame:
        """Return cells with provenance: uncertain where a film trained on has that label."""
        training = once(self.films, self.subsets.rows("train"))
        known = pd.MultiIndex.from_frame(self.films.catalog[NAME].iloc[training])
        rows = training[known.get_indexer(pd.MultiIndex.from_frame(cells[NAME]))]
        columns = pd.Index(self.films.findings).get_indexer(pd.Index(cells["finding"]))
        uncertain = self.own[rows] & (self.films.labels[rows, columns] == UNCERTAIN)
        return cells.assign(provenance=np.where(uncertain, "uncertain", "pseudo"))

    def training_set(self, out: Path, stale: int) -> FinetuneOptions:
        """Return how a round is trained: as the run was, with the table of the round.

        After rounds that were not kept the same model labels again: another seed makes the round
        another one.
        """
        options, epochs = self.start.options, self.options.train.epochs
        train = replace(
            options.train, epochs=epochs or options.train.epochs, seed=options.train.seed + stale
        )
        table = out / PSEUDO_LABELS
        return replace(
            options,
            out=out,
            unlabelled=self.start.further,
            pseudo_labels=table,
            validation="split",  # the labelling model knows the labels of every fold
            train=train,
        )


def teacher_of(context: RoundContext, rounds: Rounds, folder: Path) -> Path:
    """Return the run folder of the model that is kept so far."""
    return context.start.path if rounds.kept == 0 else folder / rounds.rounds[rounds.kept - 1].run


def one_round(context: RoundContext, rounds: Rounds, folder: Path) -> Round:
    """Label films by the model kept so far, train with them and return the result.

    Raises:
        HilumError: The user can mend it; see the line.
        Interrupted: SIGINT or SIGTERM came during training; all is saved.
    """
    number = len(rounds.rounds) + 1
    run = f"{ROUND_FOLDERS}/round-{number}"
    teacher = teacher_of(context, rounds, folder)
    cuts, added = _labelled(context, teacher, folder / run / PSEUDO_LABELS, number)
    findings = finding_rounds(added, cuts, context.start.options.labels.unstated)
    patients = context.subsets.patients(added.rows)
    nothing = Round(
        number,
        run,
        None,
        False,
        len(added.rows),
        patients,
        findings,
        mean_precision(findings),
        None,
    )
    if len(added.rows) == 0:
        return nothing
    present = sum(finding.present for finding in findings.values())
    absent = sum(finding.absent for finding in findings.values())
    none = [name for name, finding in findings.items() if not finding.present + finding.absent]
    lacking = f"; none for {', '.join(none)}" if none else ""
    context.listener.note(
        f"round {number}: labels {counted(nothing.films, 'film')} of {counted(patients, 'patient')}: "
        f"{present:,} present, {absent:,} absent{lacking}"
    )
    result = finetune(context.training_set(folder / run, rounds.stale), context.listener)
    if result.best is None:
        raise DataError(
            "no validation film can tell a round from another: run `hilum split STORE --val 0.1`."
        )
    # Ten times as large as the model, and nothing is left to continue.
    shutil.rmtree(folder / run / CHECKPOINTS, ignore_errors=True)
    student = Predictor.load(folder / run, context.options.device)
    agreed = agreement(added, student, context.listener)
    return replace(
        nothing,
        validation_auroc=result.best,
        kept=result.best > rounds.best,
        on_pseudo_labels=agreed,
    )


def _labelled(
    context: RoundContext, teacher: Path, table: Path, number: int
) -> tuple[dict[str, Cut], Added]:
    """Return the teacher's thresholds and its labels, from the table that an earlier call wrote.

    Soft labels count as present or absent by the thresholds.
    """
    films, options = context.films, context.options.labelling
    predictor = Predictor.load(teacher, context.options.device)
    unstated = context.start.options.labels.unstated
    cuts = cuts_of(predictor, films, context.validation, unstated, options, context.listener)
    columns = [films.findings.index(name) for name in predictor.findings]
    candidates = context.open[:, columns]
    identity = {"teacher": sha256(teacher / MODEL / WEIGHTS), "round": number}
    labels = read_pseudo_labels(table) if table.is_file() else None
    if labels is None or any(labels.record.get(key) != value for key, value in identity.items()):
        rows = np.flatnonzero(candidates.any(axis=1)).astype(np.int64)
        labels = label_films(
            predictor,
            films,
            rows,
            candidates[rows],
            cuts,
            options,
            context.labelled,
            "pseudo",
            identity,
            context.listener,
        )
        labels = replace(labels, cells=context.told_apart(labels.cells))
        labels.write(table)
    values, _ = labels.on(films, predictor.findings, context.subsets)  # [N, F]
    if context.options.soft:
        for column, name in zip(values.T, predictor.findings, strict=True):
            labelled = ~np.isnan(column)
            present, _ = called(column, labelled, cuts[name])
            column[labelled] = present[labelled]
    return cuts, Added(films, predictor.findings, candidates, values)
