"""The services of the laboratory: every module of this folder is one, found by its presence."""
