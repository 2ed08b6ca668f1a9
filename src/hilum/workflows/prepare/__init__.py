"""From a source's films to a store, and its split."""
