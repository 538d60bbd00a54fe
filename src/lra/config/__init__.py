"""The files in config/: schemas, joined layers, resolved cells."""
