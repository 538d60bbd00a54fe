"""`lra <verb>`: arguments in, one call out."""
