"""What a run will cost and ask for, and how far it is."""
