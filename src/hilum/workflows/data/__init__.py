"""Which images of the stores a stage works on, and their labels as targets."""
