"""Archives of the benchmark gsoc.py, as a user may add them."""
