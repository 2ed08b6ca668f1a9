"""The commands: import string and line of help, so that listing them imports none."""

from collections.abc import Iterable
from importlib import import_module

COMMANDS = {
    "demo": (
        "hilum.cli.demo:demo",
        "Run every stage on drawn phantoms, and write a page about it.",
    ),
    "phantom": (
        "hilum.cli.phantom:phantom",
        "Draw a phantom data set in CheXpert's own layout, with masks.",
    ),
    "prepare": ("hilum.cli.prepare:app", "Read a data set once and pack its films into a store."),
    "split": ("hilum.cli.split:split", "Divide a store's patients into train, val and test."),
    "card": (
        "hilum.cli.card:card",
        "Write a data card of stores: labels, copies, outlier images and shortcuts.",
    ),
    "pretrain": ("hilum.cli.pretrain:app", "Pretrain a backbone on films without labels."),
    "join": (
        "hilum.cli.join:join",
        "Join several pretrained starts to one, which --init takes.",
    ),
    "finetune": (
        "hilum.cli.finetune:finetune",
        "Train a classifier of findings on all or a fraction of the labels.",
    ),
    "pseudo-label": (
        "hilum.cli.pseudo_label:pseudo_label",
        "Label films by a classifier, and train again on them.",
    ),
    "study": (
        "hilum.cli.study:study",
        "Compare models at several fractions of the labels: all runs of one plan, and a page.",
    ),
    "probe": (
        "hilum.cli.probe:probe",
        "Measure frozen features by nearest neighbours and a linear classifier.",
    ),
    "embed": (
        "hilum.cli.embed:embed",
        "Write frozen features of every film of stores to a Parquet file.",
    ),
    "evaluate": (
        "hilum.cli.evaluate:evaluate",
        "Measure a classifier, with intervals over patients.",
    ),
    "predict": (
        "hilum.cli.predict:predict",
        "Write a model's probabilities for films or a store to a CSV file.",
    ),
    "explain": (
        "hilum.cli.explain:explain",
        "Draw where a classifier looks: a heatmap and overlay for each finding.",
    ),
    "export": (
        "hilum.cli.export:export",
        "Write a model as a folder for timm, onnxruntime and the Hugging Face Hub.",
    ),
    "serve": (
        "hilum.cli.serve:serve",
        "Answer films over HTTP with probabilities and heatmaps, and a page for the browser.",
    ),
    "watch": (
        "hilum.cli.watch:watch",
        "Read DICOM films that come into a folder, and write results for the archive.",
    ),
    "check": (
        "hilum.cli.check:check",
        "Compare every file of a store, run, model, study or card with its hash.",
    ),
    "report": ("hilum.cli.report:report", "Build the page of a study, a run or a data card."),
}
"""Name -> (import string, one line of help); listed by ``hilum --help`` in this order, the order of
the work."""

ALONE = {("study", "--template"): "hilum.cli.study:template"}
"""Command and option -> what runs in its place where the option is given, with no other required."""

FAMILIES = {
    "prepare": ("source", "hilum.sources:SOURCES"),
    "pretrain": ("method", "hilum.methods:METHODS"),
}
"""Command -> what it has a command for, and the table of those."""


def family_members(command: str) -> Iterable[str]:
    """Return the names that may follow a command as its method or source; none for the other commands."""
    if command not in FAMILIES:
        return ()
    module, _, table = FAMILIES[command][1].partition(":")
    return tuple(getattr(import_module(module), table))
