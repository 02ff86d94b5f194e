"""Archives that are no part of the project, as a user may add them."""
