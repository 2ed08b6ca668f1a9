"""``hilum demo``: the whole story on drawn phantoms."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from hilum.cli.console import listening
from hilum.cli.shared import FLAT, RESEARCH_ONLY, UNSHARED, Shared, answer
from hilum.cli.tables import aligned
from hilum.workflows.demo_options import DemoOptions

if TYPE_CHECKING:
    from hilum.report.pages import ReportResult
    from hilum.workflows.demo import DemoResult, FinetunedModel

USUAL = DemoOptions()


def demo(*, options: Annotated[DemoOptions, FLAT] = USUAL, shared: Shared = UNSHARED) -> None:
    """Show the whole story on drawn phantoms: pretrain, fine-tune, evaluate, explain, and write a page about it.

    Takes a few minutes on two cores and needs no data. The last line is the page's path. Research use only, not a
    medical device.

    Examples:
      hilum demo
      hilum demo --out demo-7 --seed 7
    """
    from hilum.report.pages import write_report
    from hilum.workflows.demo import demo as run

    with listening() as listener:
        result = run(options, listener)
    told = _Told(result, write_report(options.out))
    answer(shared, told, _text(told))


@dataclass(frozen=True)
class _Told:
    """What the command answers: the demo and its page."""

    demo: "DemoResult"
    page: "ReportResult"

    def to_json(self) -> dict[str, Any]:
        return {**self.demo.to_json(), "report": str(self.page.report)}


def _text(told: _Told) -> str:
    rows = [_row(model) for model in told.demo.models]
    table = aligned(["model", "labels", "mean AUROC on test films"], rows)
    return f"{table}\n{RESEARCH_ONLY}\n{told.page.report}"


def _row(model: "FinetunedModel") -> list[str]:
    value, ends = model.auroc_macro, model.auroc_macro_interval
    words = "not available" if value is None else f"{value:.3f}"
    return [model.name, f"{model.fraction:.0%}", f"{words} [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else words]
