"""``hilum export``: a run as a folder for timm, onnxruntime and the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hilum.cli.shared import FLAT, RESEARCH_ONLY, UNSHARED, Shared, answer
from hilum.cli.terminal.console import listening
from hilum.workflows.export.options import ExportOptions

RUN = Parameter(help="Folder of a finished run, or its model folder.")


def export(
    run: Annotated[Path, RUN],
    /,
    *,
    options: Annotated[ExportOptions, FLAT],
    shared: Shared = UNSHARED,
) -> None:
    """Write a run's model as one folder that opens in timm, onnxruntime and on the Hugging Face Hub.

    It holds weights under timm's names, model.onnx, a script that reads PNG and JPEG without Hilum,
    and a model card. It is refused where model.onnx or timm compute something else than torch.
    Needs the extra onnx. Research use only, not a medical device.

    Examples:
      hilum export runs/moco-10 --out bundles/moco-10 --licence cc-by-4.0
      hilum export runs/dino --out bundles/dino --init-licence apache-2.0
    """
    from hilum.workflows.export.export import export as write_bundle

    with listening() as listener:
        result = write_bundle(run, options, listener)
    proof = result.proof
    answer(
        shared,
        result,
        f"model.onnx differs from torch by at most {proof.largest_difference:.1g} in any output on {proof.films} "
        f"{proof.films_from}. {RESEARCH_ONLY}\n{result.out}",
    )
