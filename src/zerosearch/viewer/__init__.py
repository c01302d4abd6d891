"""A run shown as one page: curves, before and after, and whole trajectories."""
