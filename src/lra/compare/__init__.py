"""Two experiments compared."""
