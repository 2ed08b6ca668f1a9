"""Films on disk: reading them, enhancing them, and the packed store."""
