"""The report: a demo or a run as one HTML page that needs no network."""
