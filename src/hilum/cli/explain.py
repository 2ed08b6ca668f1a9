"""``hilum explain``: draw where a classifier looks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hilum.cli.shared import FLAT, RESEARCH_ONLY, UNSHARED, Shared, answer
from hilum.cli.terminal.console import listening
from hilum.cli.terminal.tables import aligned
from hilum.counts import counted
from hilum.workflows.inference.options import ExplainOptions

if TYPE_CHECKING:
    from hilum.workflows.inference.explain import Explained, ExplainResult

RUN = Parameter(
    help="Folder of a fine-tuned run, its bundle, or starter: the small model in the package."
)
FILMS = Parameter(
    help="Image files, folders of them, @list.txt with one path a line, or one store."
)
MOST, FILMS_WIDE = 8, 90
"""Films in the printed table at most, and their columns' width; the summary file has all."""


def explain(
    run: Annotated[Path, RUN],
    film: Annotated[tuple[Path, ...], FILMS],
    /,
    *,
    options: Annotated[ExplainOptions, FLAT],
    shared: Shared = UNSHARED,
) -> None:
    """Draw where a classifier looks: Grad-CAM heatmaps and overlays of every finding, beside the probabilities.

    A heatmap shows what raised the model's score, which need not be where the finding is. A film
    that cannot be read is left out, with a line, and the exit code is 1. Research use only, not a
    medical device.

    Examples:
      hilum explain runs/moco-10 film.png --out heatmaps
      hilum explain runs/moco-10 a.png b.png --out heatmaps --finding Edema Fracture
      hilum explain runs/moco-10 stores/nih14 --split test --limit 20 --out heatmaps
    """
    from hilum.workflows.inference.explain import explain as run_explain
    from hilum.workflows.inference.image_files import refuse_failed

    with listening() as listener:
        result = run_explain(run, film, options, listener)
        listener.note(result.note)
    answer(shared, result, _text(result))
    refuse_failed(result.failed, len(result.films), result.out)


def _text(result: "ExplainResult") -> str:
    """Return the probabilities of the first films, called findings marked, and the folder of the pictures."""
    shown = list(result.films[:MOST])
    while len(shown) > 1 and sum(len(_label(film)) + 2 for film in shown) > FILMS_WIDE:
        shown.pop()
    rows = [
        [
            name,
            *(
                f"{film.probabilities[name]:.3f}{'*' if name in film.called else ' '}"
                for film in shown
            ),
        ]
        for name in shown[0].drawn
    ]
    left_out = f", {len(result.failed):,} left out" if result.failed else ""
    return "\n".join(
        [
            aligned(["finding", *map(_label, shown)], rows),
            f"* called: above the threshold chosen on validation films. {RESEARCH_ONLY}",
            f"{counted(len(result.films), 'film')}{left_out}",
            str(result.out),
        ]
    )


def _label(film: "Explained") -> str:
    return film.film.name[-24:]
