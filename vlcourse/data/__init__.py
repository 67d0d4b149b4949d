"""Data: the toy world, text about it, sources that others made, and batches of them."""
