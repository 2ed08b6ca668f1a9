"""Network parts: backbones, heads, the moving average and the queue."""
