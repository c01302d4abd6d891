"""A run as one page to look at: curves, before and after, and whole trajectories."""
