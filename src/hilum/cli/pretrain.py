"""``hilum pretrain METHOD``: a command for each entry of METHODS, built when it is called."""

from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from hilum.cli.shared import FLAT, RESEARCH_ONLY, UNSHARED, Shared, answer, speaks, training_text
from hilum.cli.terminal.console import listening
from hilum.cli.terminal.defaults import spelled_out
from hilum.methods import METHODS, load_method
from hilum.workflows.train.options import PretrainOptions

EXAMPLES = """Examples:
  hilum pretrain {name} --data store --out runs/{name}
  hilum pretrain {name} --data nih14 kermany --out runs/{name} --train.epochs 50
  hilum pretrain {name} --data store --out runs/{name} --config small"""

app = App(
    name="pretrain",
    usage="hilum pretrain METHOD --data STORE... --out RUN [OPTIONS]",
    help_epilogue=EXAMPLES.format(name=next(iter(METHODS))),
    group_commands=Group("Methods"),
)


def method_command(name: str) -> Callable[..., None]:
    """Return the command that pretrains by a method: common options, and the method's own as ``--method.…``."""
    method_options: Any = spelled_out(load_method(name).Options)

    usual = method_options()

    def pretrain(options: PretrainOptions, method: Any = usual, shared: Shared = UNSHARED) -> None:
        from hilum.workflows.train.pretrain import pretrain as run

        with listening() as listener:
            result = run(name, method, options, listener)
        if speaks():
            answer(shared, result, training_text(result))

    pretrain.__annotations__ |= {
        "options": Annotated[PretrainOptions, FLAT],
        "method": Annotated[
            method_options, Parameter(group=Group(f"Options of {name}", sort_key=1))
        ],
    }
    return pretrain


def __getattr__(name: str) -> Callable[..., None]:
    """Return a method's command; this is how an import string such as ``hilum.cli.pretrain:moco`` finds it."""
    if name not in METHODS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return method_command(name)


for _name, (_target, _line) in METHODS.items():
    app.command(
        f"{__name__}:{_name}",
        name=_name,
        help=f"{_line}.\n\n{RESEARCH_ONLY}",
        help_epilogue=EXAMPLES.format(name=_name),
    )
