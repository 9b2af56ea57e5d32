"""Training runs, their folders and presets; studies of agreement; chips."""
