"""Films that are there more than once, as they are or altered a little: a hash proposes, alignment decides."""

from hilum.duplicates.copies import Copies
from hilum.duplicates.find import find_copies
from hilum.duplicates.options import CopyOptions

__all__ = ["Copies", "CopyOptions", "find_copies"]
