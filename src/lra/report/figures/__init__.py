"""One figure a module."""
