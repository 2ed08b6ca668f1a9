"""The report: a study or a run as one HTML page that needs no network."""
