"""From a study's plan to its cells and the options of each run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from hilum.bundle.model_folder import described, is_model
from hilum.errors import OptionError
from hilum.images.films import Films
from hilum.nn.backbones import create_network
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.data.targets import labelled_rows, training_labels
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.pseudo_label.options import PseudoLabelOptions
from hilum.workflows.study.plan import StudyPlan, epochs_at
from hilum.workflows.study.record import RUNS, Group, StudyCell
from hilum.workflows.train.options import FinetuneOptions, PretrainOptions

RATE = "-lr-"
"""Before the learning rate in the name of a run, where several are tried."""


def cells_of(plan: StudyPlan) -> tuple[StudyCell, ...]:
    """Return the study's cells in order: pretraining, then model by model from few labels to many.

    A later seed's cell has no learning rate yet where the first seed tries several.

    Raises:
        OptionError: Two models' names give the same folder.
    """
    names: dict[str, str] = {}
    for number, model in enumerate(plan.models, start=1):
        name = re.sub(r"[^a-z0-9]+", "-", model.casefold()).strip("-")[:60] or f"model-{number}"
        if name in names.values():
            raise OptionError(
                f"models has {model!r}, whose folder {name!r} is another's: give it another name."
            )
        names[model] = name
    main = plan.finetune.labels.uncertain
    cells = _pretrainings(plan, names)
    for model in plan.models:
        for fraction in sorted(plan.fractions_of(model)):
            of_model = _self_trainings if plan.models[model].self_train is not None else _trainings
            cells += of_model(plan, model, names[model], fraction, main, "main")
    if plan.policies is not None:
        model, fraction = plan.policies.model, plan.policies.fraction
        for policy in plan.policies.compare:
            cells += _trainings(plan, model, names[model], fraction, policy, "policies")
    return tuple(cells)


def backbone_of(plan: StudyPlan, model: str) -> str:
    """Return timm's name of a model's network: its own, its starting run's, or the study's."""
    row = plan.models[model]
    if row.self_train is not None:
        return backbone_of(plan, row.self_train)
    held = (
        described(Path(row.init)).backbone
        if row.init is not None and is_model(Path(row.init))
        else None
    )
    return row.backbone or held or plan.options.backbone


def refuse_unworkable(plan: StudyPlan) -> Films:
    """Check the plan against data and networks; return the first store's films.

    Raises:
        HilumError: A network is unknown, a store lacks what is needed, such as validation films, or
            a policy names no finding.
    """
    for name in dict.fromkeys(backbone_of(plan, model) for model in plan.models):
        create_network(name)
    Subsets.of(Films.open(plan.options.data))
    films = Films.open(plan.options.data[:1])
    subsets = Subsets.of(films)
    subsets.needed("test")
    subsets.needed("val")  # they choose rates, epochs and thresholds, and every run is measured
    fractions = [fraction for model in plan.models for fraction in plan.fractions_of(model)]
    names = [plan.finetune.labels.uncertain]
    if plan.policies is not None:
        fractions, names = [*fractions, plan.policies.fraction], [*names, *plan.policies.compare]
    for policy in dict.fromkeys(names):
        _, weights = training_labels(films, replace(plan.finetune.labels, uncertain=policy))
        for fraction in dict.fromkeys(fractions):
            labelled_rows(subsets.needed("train", fraction), weights)
    return films


def pretrain_options(plan: StudyPlan, cell: StudyCell, folder: Path) -> PretrainOptions:
    """Return the options of a pretraining cell."""
    template, row = plan.pretrain[str(cell.method)].options, plan.models[cell.model]
    init = row.init or template.init
    epochs = plan.pretrain_epochs_of(cell.model)
    crops = template.train.crops if epochs is None else None
    return replace(
        template,
        data=plan.options.data,
        out=folder / cell.run,
        init=init,
        backbone=None if is_model(Path(init)) else cell.backbone,
        train=replace(template.train, epochs=epochs, crops=crops, seed=plan.options.seed),
    )


def finetune_options(
    plan: StudyPlan, cell: StudyCell, folder: Path, start: StudyCell | None
) -> FinetuneOptions:
    """Return the options of a fine-tuning cell; ``start`` is its pretraining."""
    if cell.fraction is None or cell.policy is None or cell.lr is None:
        raise ValueError(f"cell {cell.id} has no fraction, policy or learning rate yet")
    template, row = plan.finetune, plan.models[cell.model]
    init = str((folder / start.run).resolve()) if start else str(row.init)
    train = replace(
        template.train,
        epochs=plan.epochs_of(cell.model, cell.fraction),
        lr=cell.lr,
        seed=plan.options.seed + cell.seed,
    )
    return replace(
        template,
        data=plan.options.data[:1],
        out=folder / cell.run,
        init=init,
        backbone=None if start or is_model(Path(init)) else cell.backbone,
        fraction=cell.fraction,
        subset_seed=cell.seed,
        freeze=row.freeze,
        labels=replace(template.labels, uncertain=cell.policy),
        train=train,
    )


def self_training_options(plan: StudyPlan, cell: StudyCell, folder: Path) -> PseudoLabelOptions:
    """Return the options of self-training; further stores give films without labels."""
    if cell.fraction is None:
        raise ValueError(f"cell {cell.id} has no fraction")
    template, row = plan.self_training, plan.models[cell.model]
    epochs = epochs_at(row.epochs, cell.fraction) or template.train.epochs
    return replace(
        template,
        data=plan.options.data,
        out=folder / cell.run,
        rounds=plan.rounds_of(cell.model),
        train=replace(template.train, epochs=epochs),
    )


def measuring(plan: StudyPlan) -> tuple[EvaluateOptions, ...]:
    """Return the options of the evaluations on validation and test films."""
    how, store = plan.options.evaluation, plan.options.data[0]
    return how.on(store, "val"), how.on(store, "test")


def rated(cell: StudyCell, lr: float) -> StudyCell:
    """Return a later seed's cell with the learning rate that the first seed's runs chose."""
    return replace(cell, lr=lr, chosen=True, run=f"{cell.run}{RATE}{lr:g}")


def _pretrainings(plan: StudyPlan, names: Mapping[str, str]) -> list[StudyCell]:
    """Return the models' pretrainings; those that are the same in all are one run."""
    cells, runs = [], dict[tuple[object, ...], str]()
    for model, row in plan.models.items():
        if row.pretrain is None:
            continue
        network = backbone_of(plan, model)
        alike = row.pretrain, row.init, network, plan.pretrain_epochs_of(model)
        cell = StudyCell(
            id=f"{names[model]}-pretrain",
            kind="pretrain",
            model=model,
            method=row.pretrain,
            backbone=network,
            seed=0,
            lr=plan.pretrain[row.pretrain].options.train.lr,
            run=runs.setdefault(alike, f"{RUNS}/{names[model]}-pretrain"),
        )
        cells.append(cell)
    return cells


def _trainings(
    plan: StudyPlan, model: str, name: str, fraction: float, policy: str, group: Group
) -> Iterator[StudyCell]:
    """Yield the cells of a model, fraction and policy; the first seed tries every rate."""
    rates = plan.options.learning_rates
    beginning = f"{name}-{100 * fraction:g}-{policy}"
    usual = StudyCell(
        id="",
        kind="finetune",
        model=model,
        backbone=backbone_of(plan, model),
        fraction=fraction,
        policy=policy,
        seed=0,
        group=group,
        run="",
    )
    for lr in rates:
        run = f"{beginning}-seed-0" + (f"{RATE}{lr:g}" if len(rates) > 1 else "")
        yield replace(_named(usual, run), lr=lr, chosen=len(rates) == 1)
    for seed in range(1, plan.seeds_of(model)):
        cell = replace(_named(usual, f"{beginning}-seed-{seed}"), seed=seed)
        yield replace(cell, lr=rates[0], chosen=True) if len(rates) == 1 else cell


def _self_trainings(
    plan: StudyPlan, model: str, name: str, fraction: float, policy: str, group: Group
) -> Iterator[StudyCell]:
    """Yield the cells of a model with self_train, one a seed, at the rate of its start."""
    rates = plan.options.learning_rates
    for seed in range(plan.seeds_of(model)):
        cell = StudyCell(
            id="",
            kind="pseudo-label",
            model=model,
            start=plan.models[model].self_train,
            backbone=backbone_of(plan, model),
            fraction=fraction,
            policy=policy,
            seed=seed,
            lr=rates[0] if len(rates) == 1 else None,
            chosen=len(rates) == 1,
            group=group,
            run="",
        )
        yield _named(cell, f"{name}-{100 * fraction:g}-{policy}-seed-{seed}")


def _named(cell: StudyCell, run: str) -> StudyCell:
    """Return a cell with its name and run, which a cell of the main table may share."""
    return replace(
        cell, id=run if cell.group == "main" else f"{cell.group}-{run}", run=f"{RUNS}/{run}"
    )
