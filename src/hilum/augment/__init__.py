"""Augmentation on the device: batched operations whose randomness is a pure function of (seed, epoch, index, crop)."""
