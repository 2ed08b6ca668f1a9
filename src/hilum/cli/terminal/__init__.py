"""What a command shows on the terminal: progress, results, help pages and mistakes."""
