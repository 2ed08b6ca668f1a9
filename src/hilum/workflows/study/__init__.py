"""Every model, fraction of the labels and seed of one plan."""
