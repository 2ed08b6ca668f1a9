"""``--train.compile``: backbones run as compiled code, in place."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from hilum.errors import OptionError
from hilum.nn.backbones import Backbone


def compile_backbones(learner: nn.Module, device: torch.device) -> None:
    """Compile the network of every backbone in place, frozen copies too; names in the state dict stay as they are.

    The compiling itself happens at the first step, and again where the shape of the crops or the
    mode changes.

    Args:
        learner: What holds the backbones, wherever it lies.
        device: Where they will run.

    Raises:
        OptionError: The compiler does not work there.
    """
    refuse_without_compiler(device)
    for module in learner.modules():
        if isinstance(module, Backbone):
            module.network.compile()


def refuse_without_compiler(device: torch.device) -> None:
    """Compile and run a line of code, so that a compiler that is missing is found before training begins.

    Raises:
        OptionError: That failed; the line says what the compiler said.
    """
    try:
        torch.compile(_line)(torch.ones(64, device=device))
    except (RuntimeError, OSError, ImportError) as error:
        needed = "a C++ compiler such as g++" if device.type == "cpu" else "Triton and a C compiler"
        said = " ".join(str(error).split())[:120].rstrip(". ")
        raise OptionError(
            f"--train.compile does not work here ({said}): install {needed}, or leave the option out."
        ) from error


def uncompiled(compiles: bool) -> AbstractContextManager[object]:
    """Return a context in which compiled backbones run as they were written: a look is not worth minutes of compiling.

    Args:
        compiles: Whether anything is compiled at all; without it, nothing heavy is imported.
    """
    stance: AbstractContextManager[object] = (
        torch.compiler.set_stance("force_eager") if compiles else nullcontext()
    )
    return stance


def _line(values: Tensor) -> Tensor:
    return values.sin() + 1
