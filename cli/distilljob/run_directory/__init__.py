"""A run directory as data: its paths, its result, its events. Whoever only reads a run needs nothing else."""
