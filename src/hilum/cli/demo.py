"""``hilum demo``: the whole story on drawn phantoms."""

from typing import TYPE_CHECKING, Annotated

from hilum.cli.shared import FLAT, UNSHARED, Shared, answer
from hilum.cli.study import Told, refuse_incomplete, study_text
from hilum.cli.terminal.console import listening
from hilum.workflows.demo.options import DemoOptions

if TYPE_CHECKING:
    from hilum.workflows.study.plan import StudyPlan

USUAL = DemoOptions()
SHORT, FULL = "demo", "demo-study"
"""Configs that name what is studied."""


def demo(*, options: Annotated[DemoOptions, FLAT] = USUAL, shared: Shared = UNSHARED) -> None:
    """Show the whole story on drawn phantoms: pretrain, fine-tune, evaluate, explain, and write a page about it.

    Takes a few minutes on two cores and needs no data. With --full it is a whole study: four
    methods, two baselines, three shares of the labels. The last line is the page's path. Research
    use only, not a medical device.

    Examples:
      hilum demo
      hilum demo --out demo-7 --seed 7
      hilum demo --full --out demo-full
    """
    from hilum.pages.pages import write_report
    from hilum.workflows.demo.demo import demo as run

    with listening() as listener:
        result = run(options, demo_plan(options), listener)
    told = Told(result, write_report(options.out))
    answer(shared, told, study_text(told))
    refuse_incomplete(result.record)


def demo_plan(options: DemoOptions) -> "StudyPlan":
    """Return what the demo studies, on the store and by the masks that it makes."""
    from hilum.cli.study_config import shipped_plan
    from hilum.workflows.demo.demo import PHANTOMS, STORE

    out, seed = options.out, options.seed
    given = {
        "out": str(out),
        "data": [str(out / STORE)],
        "annotations": [str(out / PHANTOMS)],
        "seed": str(seed),
    }
    return shipped_plan(FULL if options.full else SHORT, given)
