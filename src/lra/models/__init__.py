"""The encoder with its heads."""
