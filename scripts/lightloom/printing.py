"""Text of others on a terminal or in a log: it is shown, not obeyed."""

import unicodedata


def printable(text: str) -> str:
    r"""Return a text with escapes for what a terminal would obey or a reader would not see.

    Control characters (as ANSI sequences begin with), those that turn the direction of writing, and
    invisible ones become ``\x1b`` or ``\u202e``; line ends, tabs and all kinds of space stay.
    """
    if text.replace("\n", "").isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")
