"""Hilum learns to read chest radiographs from few labels. Research use, not a medical device.

Every stage is a function with a frozen dataclass of options: ``hilum.prepare`` and
``hilum.PrepareOptions``, ``hilum.finetune`` and ``hilum.FinetuneOptions``. ``hilum.load`` opens a
trained model. Names are imported on first use, so ``import hilum`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hilum.version import __version__

if TYPE_CHECKING:
    from hilum.bundle.predictor import Predictor, load
    from hilum.catalog import Catalog
    from hilum.classifier.options import LossOptions
    from hilum.errors import DataError, HilumError, OptionError, RunError
    from hilum.images.enhance import Preparation
    from hilum.images.films import Films
    from hilum.images.store import Store
    from hilum.labels import LabelOptions
    from hilum.listener import Listener
    from hilum.methods.byol import BYOLOptions
    from hilum.methods.moco import MoCoOptions
    from hilum.methods.simclr import SimCLROptions
    from hilum.methods.swav import SwAVOptions
    from hilum.methods.vicreg import VICRegOptions
    from hilum.pages.pages import write_report as report
    from hilum.phantoms.folder import write_phantoms
    from hilum.phantoms.options import PhantomOptions
    from hilum.serving.options import ServeOptions
    from hilum.serving.serve import serve
    from hilum.sources import read_source
    from hilum.training.interrupt import Interrupted
    from hilum.training.monitor_options import MonitorOptions
    from hilum.training.options import TrainOptions
    from hilum.watching.options import WatchOptions
    from hilum.watching.watch import watch
    from hilum.workflows.card.card import card
    from hilum.workflows.card.options import CardOptions
    from hilum.workflows.demo.demo import demo
    from hilum.workflows.demo.options import DemoOptions
    from hilum.workflows.evaluate.compare import compare
    from hilum.workflows.evaluate.evaluate import evaluate
    from hilum.workflows.evaluate.options import EvaluateOptions, ProbeOptions
    from hilum.workflows.evaluate.probe import probe
    from hilum.workflows.export.export import export
    from hilum.workflows.export.options import ExportOptions
    from hilum.workflows.inference.embed import embed
    from hilum.workflows.inference.explain import explain
    from hilum.workflows.inference.options import EmbedOptions, ExplainOptions
    from hilum.workflows.inference.predict import predict
    from hilum.workflows.prepare.plan import PrepareOptions
    from hilum.workflows.prepare.prepare import prepare
    from hilum.workflows.prepare.split import split
    from hilum.workflows.prepare.split_options import SplitOptions
    from hilum.workflows.pseudo_label.options import PseudoLabelOptions, RoundTrainOptions
    from hilum.workflows.pseudo_label.pseudo_label import pseudo_label
    from hilum.workflows.study.options import StudyEvaluation, StudyOptions
    from hilum.workflows.study.plan import PolicyComparison, Pretraining, StudyModel, StudyPlan
    from hilum.workflows.study.study import study
    from hilum.workflows.train.finetune import finetune
    from hilum.workflows.train.join import join
    from hilum.workflows.train.join_options import JoinOptions
    from hilum.workflows.train.labelling_options import PseudoOptions
    from hilum.workflows.train.options import (
        FinetuneOptions,
        FinetuneTrainOptions,
        PretrainOptions,
    )
    from hilum.workflows.train.pretrain import pretrain

_MODULES = {
    "bundle.predictor": ("Predictor", "load"),
    "catalog": ("Catalog",),
    "classifier.options": ("LossOptions",),
    "errors": ("DataError", "HilumError", "OptionError", "RunError"),
    "images.enhance": ("Preparation",),
    "images.films": ("Films",),
    "images.store": ("Store",),
    "labels": ("LabelOptions",),
    "listener": ("Listener",),
    "methods.byol": ("BYOLOptions",),
    "methods.moco": ("MoCoOptions",),
    "methods.simclr": ("SimCLROptions",),
    "methods.swav": ("SwAVOptions",),
    "methods.vicreg": ("VICRegOptions",),
    "phantoms.folder": ("write_phantoms",),
    "phantoms.options": ("PhantomOptions",),
    "serving.options": ("ServeOptions",),
    "serving.serve": ("serve",),
    "sources": ("read_source",),
    "training.interrupt": ("Interrupted",),
    "training.monitor_options": ("MonitorOptions",),
    "training.options": ("TrainOptions",),
    "watching.options": ("WatchOptions",),
    "watching.watch": ("watch",),
    "workflows.card.card": ("card",),
    "workflows.card.options": ("CardOptions",),
    "workflows.demo.demo": ("demo",),
    "workflows.demo.options": ("DemoOptions",),
    "workflows.evaluate.compare": ("compare",),
    "workflows.evaluate.evaluate": ("evaluate",),
    "workflows.evaluate.options": ("EvaluateOptions", "ProbeOptions"),
    "workflows.evaluate.probe": ("probe",),
    "workflows.export.export": ("export",),
    "workflows.export.options": ("ExportOptions",),
    "workflows.inference.embed": ("embed",),
    "workflows.inference.explain": ("explain",),
    "workflows.inference.options": ("EmbedOptions", "ExplainOptions"),
    "workflows.inference.predict": ("predict",),
    "workflows.prepare.plan": ("PrepareOptions",),
    "workflows.prepare.prepare": ("prepare",),
    "workflows.prepare.split": ("split",),
    "workflows.prepare.split_options": ("SplitOptions",),
    "workflows.pseudo_label.options": ("PseudoLabelOptions", "RoundTrainOptions"),
    "workflows.pseudo_label.pseudo_label": ("pseudo_label",),
    "workflows.study.options": ("StudyEvaluation", "StudyOptions"),
    "workflows.study.plan": ("PolicyComparison", "Pretraining", "StudyModel", "StudyPlan"),
    "workflows.study.study": ("study",),
    "workflows.train.finetune": ("finetune",),
    "workflows.train.join": ("join",),
    "workflows.train.join_options": ("JoinOptions",),
    "workflows.train.labelling_options": ("PseudoOptions",),
    "workflows.train.options": ("FinetuneOptions", "FinetuneTrainOptions", "PretrainOptions"),
    "workflows.train.pretrain": ("pretrain",),
}
"""Module below ``hilum`` -> public names; the same list as above, which type checkers read."""

_HOMES = {name: (module, name) for module, names in _MODULES.items() for name in names}
_HOMES["report"] = ("pages.pages", "write_report")

__all__ = [
    "BYOLOptions",
    "CardOptions",
    "Catalog",
    "DataError",
    "DemoOptions",
    "EmbedOptions",
    "EvaluateOptions",
    "ExplainOptions",
    "ExportOptions",
    "Films",
    "FinetuneOptions",
    "FinetuneTrainOptions",
    "HilumError",
    "Interrupted",
    "JoinOptions",
    "LabelOptions",
    "Listener",
    "LossOptions",
    "MoCoOptions",
    "MonitorOptions",
    "OptionError",
    "PhantomOptions",
    "PolicyComparison",
    "Predictor",
    "Preparation",
    "PrepareOptions",
    "PretrainOptions",
    "Pretraining",
    "ProbeOptions",
    "PseudoLabelOptions",
    "PseudoOptions",
    "RoundTrainOptions",
    "RunError",
    "ServeOptions",
    "SimCLROptions",
    "SplitOptions",
    "Store",
    "StudyEvaluation",
    "StudyModel",
    "StudyOptions",
    "StudyPlan",
    "SwAVOptions",
    "TrainOptions",
    "VICRegOptions",
    "WatchOptions",
    "__version__",
    "card",
    "compare",
    "demo",
    "embed",
    "evaluate",
    "explain",
    "export",
    "finetune",
    "join",
    "load",
    "predict",
    "prepare",
    "pretrain",
    "probe",
    "pseudo_label",
    "read_source",
    "report",
    "serve",
    "split",
    "study",
    "watch",
    "write_phantoms",
]


if not TYPE_CHECKING:  # a checker that saw it would take every misspelt name for Any

    def __getattr__(name: str) -> Any:
        """Import a public name on first use (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, attribute = _HOMES[name]
        value = getattr(import_module(f"{__name__}.{module}"), attribute)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """Return the public names and what is imported already."""
    return sorted({*globals(), *__all__})
