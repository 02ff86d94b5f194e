"""Suggestions for misspelt names."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: object, valid: Iterable[object]) -> str:
    """Return a question with the valid name nearest to a wrong one, or nothing if none is near.

    Parameters
    ----------
    name : object
        The wrong name.
    valid : iterable of object
        The valid names; upper and lower case count as near.

    Returns
    -------
    str
        Such as ``, did you mean 'ra'?``, to follow a statement.
    """
    folded = {str(candidate).casefold(): str(candidate) for candidate in valid}
    nearest = difflib.get_close_matches(str(name).casefold(), sorted(folded), n=1)
    return f", did you mean {folded[nearest[0]]!r}?" if nearest else ""
