"""What reading a pickle would cost, told from its opcodes, before anything of it is read.

A pickle of a few hundred bytes can describe a structure of 2^50 parts: each level holds the one below
twice. It fits in memory, for the parts are shared, and the first hash or message that walks over it
never ends. So can a table whose keys all have one hash. Weights have neither.
"""

from __future__ import annotations

import pickletools
from typing import IO, Any

MOST_OPCODES = 1_000_000
"""About forty for each tensor."""
MOST_INNER = 10_000_000
"""Objects within an object, at most, each counted as often as a walk over it meets it."""
MOST_ODD_KEYS = 1_000
"""Keys of tables that are neither texts nor small numbers: their hashes can be chosen."""
SMALL = 2**32

_MARK = object()
_IN_PLACE = {"APPEND": 1, "SETITEM": 2, "BUILD": 1, "APPENDS": 0, "SETITEMS": 0, "ADDITEMS": 0}
"""Opcodes that fill the object below on the stack, by how many they take; 0: all from the mark on."""
_KEYED = {"SETITEM", "SETITEMS", "DICT"}
_REMEMBER = {"PUT", "BINPUT", "LONG_BINPUT"}
_RECALL = {"GET", "BINGET", "LONG_BINGET"}


class TooCostly(ValueError):  # noqa: N818 - what is wrong with the file
    """Reading the pickle could take any amount of time."""


class _Part:
    """An object of the pickle: what it holds, and its value where that is a text or a number."""

    __slots__ = ("inner", "size", "value")

    def __init__(self, inner: list[_Part], value: object = None) -> None:
        self.inner, self.value = inner, value
        self.size = 0
        """How many objects a walk meets; 0 while it is not known."""


def refuse_costly(file: IO[bytes]) -> None:
    """Follow one pickle from a file's position to its end; nothing is made or imported.

    Raises:
        TooCostly: It describes a structure, or has keys, that can take any amount of time.
        ValueError: It is damaged.
    """
    stack: list[Any] = []
    memo: dict[int, _Part] = {}
    parts: list[_Part] = []
    odd_keys = 0
    argument: Any
    for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if number > MOST_OPCODES:
            raise TooCostly(f"more than {MOST_OPCODES} steps")
        name = opcode.name
        if name == "MARK":
            stack.append(_MARK)
        elif name in _REMEMBER or name == "MEMOIZE":
            memo[len(memo) if name == "MEMOIZE" else int(argument)] = _top(stack)
        elif name in _RECALL:
            if int(argument) not in memo:
                raise ValueError("it recalls what it never had")
            stack.append(memo[int(argument)])
        elif name in _IN_PLACE:
            taken = _take(stack, _IN_PLACE[name])
            _top(stack).inner += taken
            odd_keys += _odd(taken) if name in _KEYED else 0
        else:
            before = opcode.stack_before
            marked = pickletools.markobject in before
            taken = _take(stack, 0) if marked else _take(stack, len(before)) if before else []
            odd_keys += _odd(taken) if name in _KEYED else 0
            for _kind in opcode.stack_after:
                stack.append(_Part(taken, argument))
                parts.append(stack[-1])
        if odd_keys > MOST_ODD_KEYS:
            raise TooCostly(
                f"more than {MOST_ODD_KEYS} keys that are neither texts nor small numbers"
            )
    _refuse_repeated(parts)


def _top(stack: list[Any]) -> _Part:
    if not stack or stack[-1] is _MARK:
        raise ValueError("it takes from an empty stack")
    part: _Part = stack[-1]
    return part


def _take(stack: list[Any], count: int) -> list[_Part]:
    """Return so many objects from the top of the stack; 0: all above the mark, which goes too."""
    if not count:
        at = next((at for at in range(len(stack) - 1, -1, -1) if stack[at] is _MARK), -1)
        if at < 0:
            raise ValueError("it has no mark")
        taken = stack[at + 1 :]
        del stack[at:]
        return taken
    taken = stack[-count:]
    if len(taken) < count or any(part is _MARK for part in taken):
        raise ValueError("it takes from an empty stack")
    del stack[-count:]
    return taken


def _odd(pairs: list[_Part]) -> int:
    """Return how many keys of a table are neither texts nor small numbers."""
    return sum(
        not (isinstance(key.value, str) or (isinstance(key.value, int) and abs(key.value) < SMALL))
        for key in pairs[::2]
    )


def _refuse_repeated(parts: list[_Part]) -> None:
    """Refuse an object on which a walk would meet too many parts; a circle ends a walk.

    Raises:
        TooCostly: There is one.
    """
    for start in parts:
        walk = [start]
        while walk:
            part = walk[-1]
            if part.size > 0:
                walk.pop()
            elif part.size == 0:
                part.size = -1  # being counted: met again, it is a circle
                walk += [inner for inner in part.inner if inner.size == 0]
            else:
                part.size = 1 + sum(max(1, inner.size) for inner in part.inner)
                if part.size > MOST_INNER:
                    raise TooCostly("a structure that repeats itself without end")
                walk.pop()
