"""Export: a run as a folder that opens without Hilum."""
