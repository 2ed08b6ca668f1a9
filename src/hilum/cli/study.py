"""``hilum study``: all runs of one plan, and a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from hilum.cli.configs import block_of, read_config
from hilum.cli.shared import FLAT, RESEARCH_ONLY, UNSHARED, Shared, answer
from hilum.cli.terminal.console import listening
from hilum.cli.terminal.tables import aligned
from hilum.counts import counted
from hilum.errors import OptionError, RunError
from hilum.files import write_bytes
from hilum.workflows.study.options import StudyOptions

if TYPE_CHECKING:
    from hilum.pages.pages import ReportResult
    from hilum.workflows.study.plan import StudyPlan
    from hilum.workflows.study.record import StudyRecord
    from hilum.workflows.study.study import ModelResult, StudyResult

SHOWN = 5
"""Failed runs that are named."""


TEMPLATE = Parameter(
    help="Print a commented plan to start from, or write it to --out FILE; needs no other option.",
    negative="",
)
PLAN_OUT = Parameter(help="File to write; printed unless given.")


def study(
    *,
    options: Annotated[StudyOptions, FLAT],
    template: Annotated[bool, TEMPLATE] = False,  # noqa: ARG001 - then the function of that name runs
    shared: Shared = UNSHARED,
) -> None:
    """Compare models at several fractions of the labels: pretrain, fine-tune, choose learning rates, measure, report.

    The study block of --config names the models and their budget: demo-study, nih14-study and
    paper-study are shipped, and --template gives one to change. Finished runs are not repeated; a
    failed run does not stop the others, and the same command tries it again. Research use only, not
    a medical device.

    Examples:
      hilum study --template --out plan.yaml
      hilum study --data store --out study --config demo-study --jobs 2
      hilum study --data nih14 --out study --config nih14-study --seeds 3
      hilum study --data chexpert --out study --config paper-study --json
    """
    from hilum.pages.pages import write_report
    from hilum.workflows.study.study import study as run

    plan = planned(options, shared.config)
    with listening() as listener:
        result = run(plan, listener)
    finished = StudyAnswer(result, write_report(options.out))
    answer(shared, finished, study_text(finished))
    refuse_incomplete(result.record)


def template(
    *,
    template: Annotated[bool, TEMPLATE] = True,  # noqa: ARG001 - the option that leads here
    out: Annotated[Path | None, PLAN_OUT] = None,
    shared: Shared = UNSHARED,
) -> None:
    """Print a commented plan of a study, to be changed and given as --config.

    Examples:
      hilum study --template
      hilum study --template --out plan.yaml
    """
    text = files("hilum.workflows.study").joinpath("template.yaml").read_text(encoding="utf-8")
    if out is None:
        answer(shared, _Template(text), text.rstrip())
        return
    if out.exists():
        raise OptionError(f"--out {out} exists: give the name of a new file.")
    write_bytes(out, text.encode())
    answer(shared, _Template(text, str(out)), str(out))


@dataclass(frozen=True)
class _Template:
    text: str
    plan: str | None = None


def planned(options: StudyOptions, config: str | None) -> "StudyPlan":
    """Return the plan of the config and the command line.

    Raises:
        OptionError: There is no config, it has no study, or the plan cannot work.
        CycloptsError: A key or value is wrong.
    """
    from hilum.workflows.study.plan_file import read_plan

    if config is None:
        raise OptionError(
            "--config is missing: allowed are demo-study, nih14-study, paper-study or a file, such as "
            "hilum study --template --out FILE writes."
        )
    block = block_of(read_config(config), ("study",), config)
    if not block:
        raise OptionError(
            f"{config} has no block 'study': allowed are demo-study, nih14-study, paper-study or a file."
        )
    return read_plan(block, config, options)


def refuse_incomplete(record: "StudyRecord") -> None:
    """Raise a RunError that names the failed runs, and the failed parts of the page, if there are any."""
    failed = list(dict.fromkeys(cell.run for cell in record.failed))
    lines = [
        f"the page lacks {line.rstrip('.')}; the same line tries it again."
        for line in record.faults
    ]
    if failed:
        named = ", ".join(run.rpartition("/")[2] for run in failed[:SHOWN]) + " …" * (
            len(failed) > SHOWN
        )
        runs = len({cell.run for cell in record.cells})
        lines.append(
            f"{len(failed)} of {counted(runs, 'run')} failed ({named}): see the page; the same line tries them again."
        )
    if lines:
        raise RunError(" ".join(lines))


@dataclass(frozen=True)
class StudyAnswer:
    """Result of the command: a study and its page."""

    study: "StudyResult"
    page: "ReportResult"

    def to_json(self) -> dict[str, Any]:
        """Return both as plain values."""
        return {**self.study.to_json(), "report": str(self.page.report)}


def study_text(finished: StudyAnswer) -> str:
    """Return the table of results; the page's path is the last line."""
    return f"{results_table(finished.study.models)}\n{RESEARCH_ONLY}\n{finished.page.report}"


def results_table(models: "Sequence[ModelResult]") -> str:
    """Return the table of every model's result on the test films."""
    rows = [
        [row.model, f"{row.fraction:.0%}", _reached(row), _seeds(row), f"{row.lr:g}", row.policy]
        for row in models
    ]
    return aligned(
        ["model", "labels", "mean AUROC on test films", "seeds", "rate", "uncertain"], rows
    )


def _seeds(row: "ModelResult") -> str:
    return str(row.seeds) + (f" of {row.seeds_planned}" if row.seeds < row.seeds_planned else "")


def _reached(row: "ModelResult") -> str:
    if row.auroc_macro is None:
        return "not available"
    return f"{row.auroc_macro:.3f}" + (
        f" [{row.interval[0]:.3f}, {row.interval[1]:.3f}]" if row.interval else ""
    )
