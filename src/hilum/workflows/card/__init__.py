"""The data card of one or several stores."""
