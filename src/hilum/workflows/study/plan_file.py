"""A study's plan as the ``study`` block of a config file: read, and written with every default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from hilum.errors import OptionError, choose
from hilum.labels import SELF_TRAIN
from hilum.methods import METHODS, load_method
from hilum.options import mapping, merged, plain, read_options, read_value
from hilum.workflows.pseudo_label.options import PseudoLabelOptions
from hilum.workflows.study.options import PLAN_KEYS, StudyOptions
from hilum.workflows.study.plan import (
    Epochs,
    PolicyComparison,
    Pretraining,
    StudyModel,
    StudyPlan,
)
from hilum.workflows.train.options import FinetuneOptions, PretrainOptions

SET_BY_STUDY = {
    "pretrain": ("data", "out", "backbone", "devices", "train.seed"),
    "finetune": (
        *("data", "out", "backbone", "devices", "train.seed", "train.lr", "init", "fraction"),
        *("subset_seed", "freeze", "unlabelled", "pseudo_labels"),
    ),
    "pseudo_label": ("data", "out", "from"),
}
"""Options of a command that the study sets for each run: a plan does not hold them."""
UNSET = {"data": [], "out": "."}


def read_plan(
    block: Mapping[str, Any], source: str, options: StudyOptions | None = None
) -> StudyPlan:
    """Return the plan that a config's ``study`` block describes.

    Args:
        block: Mappings, lists and text, as YAML gives them.
        source: The file's name, which begins every error line.
        options: The study's own options, where the command line has read them from its words and
            the block already; read from the block unless given.

    Raises:
        OptionError: A key or value is wrong, or the plan cannot work.
    """
    if options is None:
        own = {key: value for key, value in block.items() if key not in PLAN_KEYS}
        options = read_options(StudyOptions, own, source)
    parts = {key: f"{source}: {key}" for key in PLAN_KEYS}
    models = {
        name: read_options(
            StudyModel, mapping(row, f"{parts['models']}.{name}"), f"{parts['models']}.{name}"
        )
        for name, row in mapping(block.get("models"), parts["models"]).items()
    }
    epochs: Epochs = read_value(Epochs, block.get("epochs") or {}, parts["epochs"])
    policies = None
    if block.get("policies") is not None:
        rows = mapping(block["policies"], parts["policies"])
        policies = read_options(PolicyComparison, rows, parts["policies"])
    pseudo_label = None
    if block.get("pseudo_label") is not None:
        shared = _shared(block["pseudo_label"], "pseudo_label", source)
        pseudo_label = read_options(PseudoLabelOptions, shared, parts["pseudo_label"])
    finetune = _shared(block.get("finetune"), "finetune", source)
    pretrain = _pretrainings(models, mapping(block.get("pretrain"), parts["pretrain"]), source)
    used, epochs = _narrowed(models, epochs, policies, options, block)
    template = read_options(FinetuneOptions, finetune, parts["finetune"])
    try:
        return StudyPlan(
            options=options,
            models=used,
            finetune=template,
            pretrain=pretrain,
            pseudo_label=pseudo_label,
            epochs=epochs,
            policies=policies,
        )
    except OptionError as error:  # an option of the study may have come from the command line
        raise OptionError(str(error) if "--" in str(error) else f"{source}: {error}") from error


def study_block(plan: StudyPlan) -> dict[str, Any]:
    """Return the plan as a config's ``study`` block, all defaults but ``out`` and ``jobs``."""
    options = plain(asdict(plan.options))
    for key in ("out", "jobs"):
        del options[key]
    models = {}
    for name, model in plan.models.items():
        row = {key: value for key, value in plain(asdict(model)).items() if value is not None}
        models[name] = row | ({"epochs": _by_text(model.epochs)} if model.epochs else {})
    block = {
        **options,
        "reference": plan.reference,
        "models": models,
        "epochs": _by_text(plan.epochs),
        "pretrain": {
            method: {**_without_set(row.options, "pretrain"), "method": plain(asdict(row.method))}
            for method, row in plan.pretrain.items()
        },
        "finetune": _without_set(plan.finetune, "finetune"),
    }
    labels = plan.finetune.labels
    compared = () if plan.policies is None else plan.policies.compare
    if SELF_TRAIN not in (labels.uncertain, *labels.per_finding.values(), *compared):
        del block["finetune"]["self_train"]
    if any(row.self_train is not None for row in plan.models.values()):
        block["pseudo_label"] = _without_set(plan.self_training, "pseudo_label")
    return block if plan.policies is None else {**block, "policies": plain(asdict(plan.policies))}


def _shared(block: Any, command: str, source: str, where: str = "") -> dict[str, Any]:
    """Return the options of all runs of a command, with placeholders for the folders of each run.

    Raises:
        OptionError: The block has an option that the study sets for each run.
    """
    where = where or f"{source}: {command}"
    block = mapping(block, where)
    for key in SET_BY_STUDY[command]:
        group, _, name = key.rpartition(".")
        if name in (mapping(block.get(group), f"{where}.{group}") if group else block):
            raise OptionError(
                f"{where} has {key}, which the study sets for each run: leave it out there."
            )
    return {**block, **UNSET}


def _pretrainings(
    models: Mapping[str, StudyModel], block: Mapping[str, Any], source: str
) -> dict[str, Pretraining]:
    """Return the pretraining by method of the models; blocks of other methods are checked too."""
    where = f"{source}: pretrain"
    known = {*METHODS, "method", *(entry.name for entry in fields(PretrainOptions))}
    for key, value in block.items():
        if isinstance(value, dict) and key not in known:
            choose(key, METHODS, f"method of {where}")
    named = [model.pretrain for model in models.values() if model.pretrain in METHODS]
    common = {key: value for key, value in block.items() if key not in METHODS}
    pretrain = {}
    for method in dict.fromkeys([*named, *(method for method in METHODS if method in block)]):
        own = f"{where}.{method}"
        both = merged(common, mapping(block.get(str(method)), own))
        options = _shared(both, "pretrain", source, where)
        of_method = mapping(options.pop("method", None), f"{own}.method")
        pretrain[str(method)] = Pretraining(
            options=read_options(PretrainOptions, options, own),
            method=read_options(load_method(str(method)).Options, of_method, f"{own}.method"),
        )
    return {method: row for method, row in pretrain.items() if method in named}


def _narrowed(
    models: Mapping[str, StudyModel],
    epochs: Epochs,
    policies: PolicyComparison | None,
    options: StudyOptions,
    block: Mapping[str, Any],
) -> tuple[dict[str, StudyModel], Epochs]:
    """Drop a config's values for fractions that the command line's ``--fractions`` leaves out.

    Such epochs are no mistake, nor is a model with self_train whose fractions are all left out.
    """
    in_config = block.get("fractions", StudyOptions.fractions)
    left_out = {*read_value(tuple[float, ...], in_config, "fractions")} - {*options.fractions}
    used = {}
    for name, model in models.items():
        start = models.get(model.self_train or "")
        if left_out and start is not None:
            further = len(options.data) > 1
            given = start.fractions or options.fractions
            possible = [fraction for fraction in given if fraction < 1 or further]
            kept = tuple(
                fraction
                for fraction in model.fractions or possible
                if fraction in possible or fraction not in left_out
            )
            if not kept:
                continue
            model = replace(model, fractions=None if model.fractions is None else kept)
        compared = {policies.fraction} if policies and policies.model == name else set[float]()
        unused = left_out - compared - {*(model.fractions or ())}
        used[name] = replace(model, epochs=_without(model.epochs, unused) or None)
    needed = {fraction for model in used.values() for fraction in model.fractions or ()}
    needed |= {policies.fraction} if policies else set()
    return used, _without(epochs, left_out - needed) or {}


def _without(epochs: Epochs | None, fractions: set[float]) -> Epochs | None:
    if not isinstance(epochs, dict):
        return epochs
    return {key: number for key, number in epochs.items() if key not in fractions}


def _by_text(epochs: Epochs) -> int | dict[str, int]:
    """Return epochs as YAML has them: keys are text there, as in any block."""
    if not isinstance(epochs, dict):
        return epochs
    return {f"{fraction:g}": number for fraction, number in epochs.items()}


def _without_set(options: Any, command: str) -> dict[str, Any]:
    """Return the options that a plan holds of a command."""
    block: dict[str, Any] = plain(asdict(options))
    for key in SET_BY_STUDY[command]:
        group, _, name = key.rpartition(".")
        (block[group] if group else block).pop(name, None)
    return block
