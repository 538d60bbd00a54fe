"""One module a figure, or two of one shape."""
