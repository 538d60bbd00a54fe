"""The tasks' data: one task per file; store.py is the format that all of them share."""
