"""The one training loop and what it needs: batches, schedules, checkpoints, the run folder."""
