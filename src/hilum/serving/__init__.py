"""The service: films in by HTTP, probabilities, heatmaps and refusals out; nothing is kept."""
