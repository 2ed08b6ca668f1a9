"""Duplicate films, equal or slightly altered: a hash proposes pairs, alignment decides."""

from hilum.duplicates.copies import Copies
from hilum.duplicates.find import find_copies
from hilum.duplicates.options import CopyOptions

__all__ = ["Copies", "CopyOptions", "find_copies"]
