"""README.md of an exported bundle: a model card of the Hugging Face Hub, with results and their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, StrictUndefined

from hilum.bundle.description import Description
from hilum.bundle.exported import ExportedContent
from hilum.counts import counted
from hilum.metrics.results import Estimate
from hilum.sources import SOURCES
from hilum.workflows.evaluate.record import EvaluationRecord
from hilum.workflows.export.proof import Proof

PUBLIC = frozenset(SOURCES) - {"folder", "dicom"}
"""Sources that are data sets of that name; others have a name of their owner's."""
TEMPLATE = "card.md.jinja"
SPLITS = ("official-test", "test", "val", "train", "all")


def card(
    description: Description,
    content: ExportedContent,
    evaluations: Mapping[str, EvaluationRecord],
    proof: Proof,
    validation: float | None,
) -> str:
    """Return the text of the card.

    Args:
        description: Without names, see ``without_names``.
        content: The rest of ``model.json``.
        evaluations: The run's, by name.
        proof: How ``model.onnx`` compares with torch.
        validation: Best mean AUROC on validation films.
    """
    # Markdown, which is no HTML: the filter ``cell`` takes out what would be markup.
    page = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    page.filters |= {
        "cell": _cell,
        "value": _value,
        "films": lambda count: counted(count, "film"),
        "patients": lambda count: counted(count, "patient"),
    }
    text: str = page.from_string(
        files("hilum.workflows.export").joinpath(TEMPLATE).read_text("utf-8")
    ).render(
        head=metadata(description, content, evaluations).to_yaml(),
        title=_title(description),
        description=description,
        steps=description.preparation,
        findings=[_cell(name) for name in description.findings],
        graph=content.graph,
        content=content,
        stores=description.training_data["stores"],
        evaluations=evaluations,
        validation=validation,
        proof=proof,
    )
    return text.rstrip("\n") + "\n"


def metadata(
    description: Description,
    content: ExportedContent,
    evaluations: Mapping[str, EvaluationRecord],
) -> ModelCardData:
    """Return the card's YAML head."""
    public = [store["dataset"] for store in description.training_data["stores"] if store["dataset"]]
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type=public[0] if public else "private",
            dataset_name=name,
            dataset_split=name,  # results that differ in their names alone are taken for one data set's
            metric_type="roc_auc",
            metric_name=f"mean AUROC over {counted(len(one.findings_scored), 'finding')}",
            metric_value=round(one.auroc_macro, 4),
        )
        for name, one in evaluations.items()
        if one.auroc_macro is not None
    ]
    task = "image-classification" if description.findings else "image-feature-extraction"
    return ModelCardData(
        library_name="timm",
        pipeline_tag=task,
        license=content.licence or "unknown",
        tags=["timm", "hilum", "onnx", "chest-x-ray", "radiograph", "medical", "research-only"],
        model_name=_title(description),
        eval_results=results or None,
        ignore_metadata_errors=False,
    )


def without_names(training_data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the training data's counts and hashes; of its names only those of public data sets."""
    stores: Sequence[Mapping[str, Any]] = training_data.get("stores", ())
    return {
        "stores": [
            {key: store.get(key) for key in ("films", "fingerprint", "split")}
            | {"dataset": store.get("source") if store.get("source") in PUBLIC else None}
            for store in stores
        ]
    }


def public_name(evaluation: str) -> str:
    """Return an evaluation's name without the name of a data set that is not public.

    >>> public_name("test"), public_name("nih14-official-test"), public_name("st-marys-test")
    ('test', 'nih14-official-test', 'test of another data set')
    """
    split = next((name for name in SPLITS if evaluation.endswith(name)), "films")
    source = evaluation.removesuffix(split).rstrip("-")
    return evaluation if source in PUBLIC or not source else f"{split} of another data set"


def _title(description: Description) -> str:
    if description.findings:
        return f"{description.backbone}: findings on chest radiographs"
    return f"{description.backbone}: features of chest radiographs ({description.method})"


def _value(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"not available ({_cell(estimate.reason or 'no reason was recorded')})"
    ends = estimate.interval
    interval = f" [{ends.low:.3f}, {ends.high:.3f}]" if ends else " (no interval)"
    return f"{estimate.value:.3f}{interval}"


def _cell(text: str) -> str:
    """Return a text without what Markdown or HTML would take for markup, and in one line."""
    for mark in "\\|<>[]`*":
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())
