"""Training one cell: loop, optimiser, batches, saved state, signals."""
