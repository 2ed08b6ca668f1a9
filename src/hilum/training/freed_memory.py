"""Memory that is freed stays with the process: on a CPU a network asks for the same large blocks again at every layer.

The GNU C library gives blocks above 32 MB back to the system as soon as they are freed, and the system
clears each new page of the next. The maps of a batch are such blocks: that took more time than the network's
own arithmetic where 256 films went through EfficientNet-lite0 at 128 px, and a tenth of a training step of ResNet-10t.
"""

from __future__ import annotations

import ctypes
from functools import cache

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of mallopt(3), malloc.h
_LARGEST_BLOCK = 2**30
"""Bytes above which a block is given back all the same."""
_LARGEST_INT = 2**31 - 1


@cache
def keep_freed_memory() -> bool:
    """Have this process keep what it frees for what it takes next; returns whether its C library can.

    The process then holds as much as it once needed at most. Linux with the GNU C library; others stay as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK) and mallopt(_TRIM_THRESHOLD, _LARGEST_INT))
