"""Film files decoded in processes of limited time and memory, for every command and for Python."""
