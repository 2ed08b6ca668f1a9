"""The supervised multi-label classifier."""
