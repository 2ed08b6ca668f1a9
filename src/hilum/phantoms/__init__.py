"""Drawn radiographs with known findings and masks, in CheXpert's own layout."""

from hilum.phantoms.folder import PhantomResult, write_phantoms
from hilum.phantoms.masks import read_masks
from hilum.phantoms.options import PhantomOptions

__all__ = ["PhantomOptions", "PhantomResult", "read_masks", "write_phantoms"]
