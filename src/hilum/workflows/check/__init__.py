"""Whether every file of a store, a run or a model is as it was written."""
