"""``hilum join``: several pretrained starts as one."""

from typing import Annotated

from cyclopts import Parameter

from hilum.cli.shared import FLAT, RESEARCH_ONLY, UNSHARED, Shared, answer
from hilum.cli.terminal.console import listening
from hilum.counts import counted
from hilum.workflows.train.join_options import JoinOptions

STARTS = Parameter(
    help="Run folders, at least one, and weights files as NAME=FILE with timm's name of the network; "
    "NAME@PIXELS=FILE enlarges its films to that size."
)


def join(
    starts: Annotated[tuple[str, ...], STARTS],
    /,
    *,
    options: Annotated[JoinOptions, FLAT],
    shared: Shared = UNSHARED,
) -> None:
    """Put several pretrained starts side by side as one model, which `--init` takes.

    Its features are those of all: what MoCo learnt from films beside what ImageNet knows of edges
    and textures. A linear probe of both reads more from few
    labels than of either: `hilum finetune --config few-labels --init joined --freeze`.
    Research use only, not a medical device.

    Examples:
      hilum join runs/moco tf_efficientnet_lite0@128=lite0.safetensors --out joined
      hilum join runs/moco resnet50@128=imagenet --out joined
    """
    from hilum.workflows.train.join import join as run

    with listening() as listener:
        result = run(starts, options, listener)
    answer(
        shared,
        result,
        f"{result.backbone}: {counted(result.features, 'feature')}. {RESEARCH_ONLY}\n{result.out}",
    )
