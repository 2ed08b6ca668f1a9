"""``--train.compile``: backbones run as compiled code, in place."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from hilum.errors import OptionError
from hilum.nn.backbones import Backbone


def compile_backbones(learner: nn.Module, device: torch.device) -> None:
    """Compile the network of every backbone in place, frozen copies too; names in the state dict stay.

    Compiling itself happens at the first step, and again when the shape of the crops or the mode
    changes.

    Args:
        learner: Holds the backbones, on any device.
        device: Where they will run.

    Raises:
        OptionError: The compiler does not work there.
    """
    refuse_without_compiler(device)
    for module in learner.modules():
        if isinstance(module, Backbone):
            module.network.compile()


def refuse_without_compiler(device: torch.device) -> None:
    """Compile and run a line of code, so that a missing compiler is noticed before training begins.

    Raises:
        OptionError: That failed; with the compiler's message.
    """
    try:
        torch.compile(_line)(torch.ones(64, device=device))
    except (RuntimeError, OSError, ImportError) as error:
        needed = "a C++ compiler such as g++" if device.type == "cpu" else "Triton and a C compiler"
        message = " ".join(str(error).split())[:120].rstrip(". ")
        raise OptionError(
            f"--train.compile does not work here ({message}): install {needed}, or leave the option out."
        ) from error


def uncompiled(compiles: bool) -> AbstractContextManager[object]:
    """Return a context in which compiled backbones run uncompiled: monitoring is not worth minutes of compiling.

    Args:
        compiles: Whether anything is compiled; else nothing heavy is imported.
    """
    stance: AbstractContextManager[object] = (
        torch.compiler.set_stance("force_eager") if compiles else nullcontext()
    )
    return stance


def _line(values: Tensor) -> Tensor:
    return values.sin() + 1
