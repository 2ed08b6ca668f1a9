"""From the ``study`` block of a config to a plan: each part is read as the command of its name would read it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

from hilum.cli.configs import READ_BY_COMMAND, block_of, bound, mapping, merged, read_config
from hilum.cli.defaults import as_declared
from hilum.cli.finetune import finetune
from hilum.cli.pretrain import method_command
from hilum.cli.pseudo_label import pseudo_label
from hilum.cli.shared import FLAT
from hilum.errors import OptionError, choose
from hilum.methods import METHODS, load_method
from hilum.workflows.pseudo_label.options import PseudoLabelOptions
from hilum.workflows.study.options import StudyOptions
from hilum.workflows.study.plan import PolicyComparison, Pretraining, StudyModel, StudyPlan

OF_EACH_RUN = {
    "pretrain": ("train.seed",),
    "finetune": (
        "train.seed",
        "train.lr",
        "init",
        "fraction",
        "subset_seed",
        "freeze",
        "unlabelled",
        "pseudo_labels",
    ),
    "pseudo_label": ("from",),
}
"""Options that are no template's: the study sets them for each run, besides where it reads and
writes."""
NOTHING = StudyModel()
PLACE = {"data": "unused", "out": "unused"}
"""What the commands ask for and the study sets for each run."""


def plan_of(options: StudyOptions, block: Mapping[str, Any], source: str) -> StudyPlan:
    """Return the plan that a config's block and the line's options make.

    Args:
        options: What the line and the block say of the study as a whole.
        block: The config's ``study`` block.
        source: The config's name, for the line of a mistake.

    Raises:
        CycloptsError: A key or value is wrong.
        OptionError: The plan cannot work.
    """
    models = {
        name: _model(name, row, source) for name, row in _part(block, "models", source).items()
    }
    templates = _part(block, "pretrain", source)
    for name, model in models.items():
        model.refuse_wrong(name)
    named = {model.pretrain for model in models.values()}
    pretrain = {
        method: _pretraining(method, templates, source)
        for method in _methods(models, templates, source)
    }
    policies = _policies(block, source)
    epochs = _epochs(_part(block, "epochs", source), source)
    left = _narrowed_away(options, block)
    narrowed = left - ({policies.fraction} if policies else set())
    rows = {
        name: _narrowed(row, narrowed if policies and policies.model == name else left)
        for name, row in models.items()
    }
    rows = _self_training_block(rows, options, left)
    return StudyPlan(
        options=options,
        models=rows,
        finetune=_finetune(_part(block, "finetune", source), source),
        pretrain={method: template for method, template in pretrain.items() if method in named},
        epochs=_without(
            epochs, narrowed - {share for row in rows.values() for share in row.fractions or ()}
        ),
        pseudo_label=_self_training(block, source),
        policies=policies,
    )


def shipped_plan(config: str, given: Mapping[str, Any]) -> StudyPlan:
    """Return the plan of a config with some of the study's options given, as text; for commands that run a study.

    Raises:
        OptionError: The plan cannot work.
    """

    def study(*, options: Annotated[StudyOptions, FLAT]) -> None:
        """Stand for the command; never called."""

    block = block_of(read_config(config), ("study",), config)
    of_study = {key: value for key, value in block.items() if key not in READ_BY_COMMAND["study"]}
    return plan_of(bound(study, {**of_study, **given}, config)["options"], block, config)


def _methods(
    models: Mapping[str, StudyModel], templates: Mapping[str, Any], source: str
) -> list[str]:
    """Return the methods that models name or templates are for, the models' first: all templates are checked."""
    for key, own in templates.items():
        if isinstance(own, dict) and key not in (*METHODS, "train", "watch", "method"):
            choose(key, METHODS, f"method of {source}: pretrain")
    named = [model.pretrain for model in models.values() if model.pretrain is not None]
    return list(dict.fromkeys([*named, *(method for method in METHODS if method in templates)]))


def _narrowed_away(options: StudyOptions, block: Mapping[str, Any]) -> set[float]:
    """Return the shares that the config studies and the line's --fractions leaves out: their epochs are no mistake."""
    told = block.get("fractions", StudyOptions.fractions)
    shares = told if isinstance(told, (list, tuple)) else [told]
    return {float(share) for share in shares} - set(options.fractions)


def _narrowed(row: StudyModel, shares: set[float]) -> StudyModel:
    return replace(
        row,
        epochs_at=tuple(_without(dict(row.epochs_at), shares - {*(row.fractions or ())}).items()),
    )


def _self_training_block(
    models: Mapping[str, StudyModel], options: StudyOptions, shares: set[float]
) -> dict[str, StudyModel]:
    """Return the models without those to be grown at shares that the line leaves out alone: they are no mistake."""
    found = {}
    for name, row in models.items():
        start = models.get(row.self_train or "")
        if shares and start is not None:
            there = [
                share
                for share in start.fractions or options.fractions
                if share < 1 or len(options.data) > 1
            ]
            kept = tuple(
                share for share in row.fractions or there if share in there or share not in shares
            )
            if not kept:
                continue
            row = replace(row, fractions=None if row.fractions is None else kept)
        found[name] = row
    return found


def _without(epochs: Mapping[float, int], shares: set[float]) -> dict[float, int]:
    return {share: passes for share, passes in epochs.items() if share not in shares}


def _model(name: str, row: Any, source: str) -> StudyModel:
    def model(*, options: Annotated[StudyModel, FLAT] = NOTHING) -> None:
        """Stand for one row; never called."""

    where = f"{source}: models.{name}"
    block = mapping(row, where)
    epochs = block.get("epochs")
    if not isinstance(epochs, dict):
        return _bound_model(model, block, where)
    rest = {key: value for key, value in block.items() if key != "epochs"}
    return replace(
        _bound_model(model, rest, where), epochs_at=tuple(_epochs(epochs, where).items())
    )


def _bound_model(command: Callable[..., None], block: Mapping[str, Any], where: str) -> StudyModel:
    found: StudyModel = bound(command, block, where)["options"]
    return found


def _pretraining(method: str, templates: Mapping[str, Any], source: str) -> Pretraining:
    where = f"{source}: pretrain"
    common = {key: value for key, value in templates.items() if key not in METHODS}
    block = merged(common, mapping(templates.get(method), f"{where}.{method}"))
    _refuse_set(block, "pretrain", where)
    arguments = bound(method_command(method), {**block, **PLACE}, f"{where}.{method}")
    options = as_declared(load_method(method).Options, arguments["method"])
    return Pretraining(options=arguments["options"], method=options)


def _finetune(block: Mapping[str, Any], source: str) -> Any:
    where = f"{source}: finetune"
    _refuse_set(block, "finetune", where)
    return bound(finetune, {**block, **PLACE}, where)["options"]


def _self_training(block: Mapping[str, Any], source: str) -> PseudoLabelOptions | None:
    if block.get("pseudo_label") is None:
        return None
    where = f"{source}: pseudo_label"
    told = mapping(block["pseudo_label"], where)
    _refuse_set(told, "pseudo_label", where)
    found: PseudoLabelOptions = bound(pseudo_label, {**told, **PLACE, "from": "unused"}, where)[
        "options"
    ]
    return found


def _policies(block: Mapping[str, Any], source: str) -> PolicyComparison | None:
    def policies(*, options: Annotated[PolicyComparison, FLAT]) -> None:
        """Stand for the block; never called."""

    if block.get("policies") is None:
        return None
    where = f"{source}: policies"
    found: PolicyComparison = bound(policies, mapping(block["policies"], where), where)["options"]
    return found


def _epochs(block: Mapping[str, Any], source: str) -> dict[float, int]:
    """Return passes by share of the labels; the keys are numbers, which no option's name can be."""
    found = {}
    for fraction, epochs in block.items():
        try:
            found[float(fraction)] = int(str(epochs))  # of 2.7 int alone would make 2
        except (TypeError, ValueError):
            raise OptionError(
                f"{source}: epochs has {fraction}: {epochs}; allowed is a share and a whole number, as in 0.1: 10."
            ) from None
    return found


def _refuse_set(block: Mapping[str, Any], command: str, where: str) -> None:
    for key in ("data", "out", "backbone", "devices", *OF_EACH_RUN[command]):
        group, _, name = key.rpartition(".")
        if name in (mapping(block.get(group), f"{where}.{group}") if group else block):
            raise OptionError(
                f"{where} has {key}, which the study sets for each run: leave it out there."
            )


def _part(block: Mapping[str, Any], key: str, source: str) -> dict[str, Any]:
    return mapping(block.get(key), f"{source}: {key}")
