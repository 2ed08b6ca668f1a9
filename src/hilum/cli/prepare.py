"""``hilum prepare SOURCE``: a command for each entry of SOURCES, built when it is called."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from hilum.cli.shared import FLAT, UNSHARED, Shared, answer, by_reason
from hilum.cli.terminal.console import listening
from hilum.counts import counted
from hilum.sources import SOURCES, load_source, read_source

EXAMPLES = """Examples:
  hilum prepare {name} data/{name} --out stores/{name} --size 64
  hilum prepare {name} data/{name} --out stores/pad --size 256 --fit pad"""

EXAMPLES_OF = {
    "folder": """Examples:
  hilum prepare folder data/films --out stores/films --size 64 --csv films.csv \\
      --path-column Image --patient-column Who --finding-columns Edema Fracture
  hilum prepare folder data/classes --out stores/pad --size 64 --class-folders""",
    "dicom": """Examples:
  hilum prepare dicom export --out stores/a --size 224 --label-table labels.csv
  hilum prepare dicom export --out stores/a --size 224 --label-table uids.csv \\
      --label-key study --key-column uid --finding-columns edema mass
  hilum prepare dicom export --out stores/a --size 224 --keep for-processing \\
      --keep-device no --names-file private/names.csv""",
    "medmnist": """Examples:
  hilum prepare medmnist data/chestmnist_64.npz --out stores/chest --size 64
  hilum prepare medmnist data/octmnist.npz --out stores/oct --size 28 \\
      --findings Neovascularization Edema Drusen Normal""",
}
"""Sources whose options need more than the common examples."""

app = App(
    name="prepare",
    usage="hilum prepare SOURCE ROOT --out STORE --size PX [OPTIONS]",
    help_epilogue=EXAMPLES.format(name=next(iter(SOURCES))),
    group_commands=Group("Sources"),
)

OUT = Parameter(help="Folder of the store; an unfinished one is resumed.")


def source_command(name: str) -> Callable[..., None]:
    """Return the command that prepares a source: common options and the source's own, side by side."""
    from hilum.images.decoding.film_process import processes_kept
    from hilum.workflows.prepare.prepare import PrepareOptions, PrepareResult, prepare

    source_options: Any = load_source(name).Options

    usual = source_options()
    where = Parameter(help=f"The data set's folder{', or its file' if SOURCES[name].file else ''}.")

    def run(
        root: Annotated[Path, where],
        /,
        *,
        out: Annotated[Path, OUT],
        options: Annotated[PrepareOptions, FLAT],
        source: Any = usual,
        shared: Shared = UNSHARED,
    ) -> None:
        chosen = {entry.name: getattr(source, entry.name) for entry in fields(source)}
        with listening() as listener, processes_kept():
            catalog = read_source(name, root, listener, **chosen)
            for note in catalog.notes:
                listener.note(note)
            result = prepare(catalog, out, options, listener)
        answer(shared, result, _text(result))

    def _text(result: PrepareResult) -> str:
        if not result.complete:
            return f"{result.store}: this part is done; the last of the parts to finish merges them"
        done = "already done: " if result.already_done else ""
        kept = f"{done}{result.rows_kept:,} of {counted(result.rows_read, 'row')} kept"
        rows = f"{kept}{by_reason('excluded', result.rows_excluded)}{by_reason('failed', result.rows_failed)}"
        rows += by_reason("flagged", result.flagged)
        return f"{rows}\n{_copies(result.copies)}{result.store}"

    own = (
        Parameter(name="*", group=Group(f"Options of {name}", sort_key=1))
        if fields(source_options)
        else Parameter(parse=False)
    )
    run.__annotations__["source"] = Annotated[source_options, own]
    return run


def _copies(copies: dict[str, int]) -> str:
    """Return a line about copies, nothing where they were not searched for."""
    if not copies:
        return ""
    kinds = f"{copies['exact']:,} exact and {copies['near']:,} near"
    return (
        f"copies: {kinds}, {copies['between_patients']:,} between patients; "
        f"{counted(copies['left_out'], 'film')} in no subset\n"
    )


def __getattr__(name: str) -> Callable[..., None]:
    """Return a source's command; this is how an import string such as ``hilum.cli.prepare:chexpert`` finds it."""
    if name not in SOURCES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return source_command(name)


for _name, _entry in SOURCES.items():
    app.command(
        f"{__name__}:{_name}",
        name=_name,
        help=f"{_entry.help[0].upper()}{_entry.help[1:]}.",
        help_epilogue=EXAMPLES_OF.get(_name, EXAMPLES.format(name=_name)),
    )
