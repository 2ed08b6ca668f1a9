"""``hilum demo``: every stage on drawn phantoms."""

import shlex
from typing import TYPE_CHECKING, Annotated

from hilum.cli.configs import block_of, read_config
from hilum.cli.shared import FLAT, UNSHARED, Shared, answer
from hilum.cli.study import StudyAnswer, refuse_incomplete, study_text
from hilum.cli.terminal.console import listening
from hilum.workflows.demo.options import DemoOptions

if TYPE_CHECKING:
    from hilum.workflows.study.plan import StudyPlan

USUAL = DemoOptions()
SHORT, FULL = "demo", "demo-study"
"""Configs with the plan of the study."""


def demo(*, options: Annotated[DemoOptions, FLAT] = USUAL, shared: Shared = UNSHARED) -> None:
    """Run every stage on drawn phantoms: pretrain, fine-tune, evaluate, explain, and write a page about it.

    Takes a few minutes on two cores and needs no data. With --full it is a whole study: four
    methods, two baselines, three fractions of the labels. The last lines are the page's path
    and the command that serves a model of it. Research use only, not a medical device.

    Examples:
      hilum demo
      hilum demo --out demo-7 --seed 7
      hilum demo --full --out demo-full
    """
    from hilum.pages.pages import write_report
    from hilum.workflows.demo.demo import STORE, model_of
    from hilum.workflows.demo.demo import demo as run

    with listening() as listener:
        result = run(options, demo_plan(options), listener)
    finished = StudyAnswer(result, write_report(options.out))
    text, model = study_text(finished), model_of(result.record)
    if model is not None:
        served, store = result.record.path(model), options.out / STORE
        text += f"\nhilum serve {shlex.quote(str(served))} --index {shlex.quote(str(store))} --index-pictures"
    answer(shared, finished, text)
    refuse_incomplete(result.record)


def demo_plan(options: DemoOptions) -> "StudyPlan":
    """Return the plan of the demo's study, on the store and the masks that the demo makes."""
    from hilum.workflows.demo.demo import PHANTOMS, STORE
    from hilum.workflows.study.plan_file import read_plan

    name, out = FULL if options.full else SHORT, options.out
    block = block_of(read_config(name), ("study",), name)
    made = {"out": str(out), "data": str(out / STORE), "annotations": str(out / PHANTOMS)}
    return read_plan({**block, **made, "seed": options.seed}, name)
