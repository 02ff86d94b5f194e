"""Tokens of services: from the environment, or from a file that only its owner can read."""

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from lightloom.config import ArchiveSpec
from lightloom.errors import AuthenticationError, ConfigError


class Token:
    """A secret that shows itself to nobody who prints or logs it.

    Parameters
    ----------
    secret : str
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "Token(***)"

    @property
    def header(self) -> str:
        """Value of the HTTP header ``Authorization`` (RFC 6750)."""
        return self.header_of("Bearer")

    def header_of(self, scheme: str) -> str:
        """Return the value of the header for another scheme; without one it is the token alone."""
        return f"{scheme} {self._secret}".lstrip()

    def redact(self, text: str) -> str:
        """Return ``text``, such as an error message of a server, without the secret."""
        return text.replace(self._secret, "***")

    def stands_in(self, content: bytes) -> bool:
        """Tell whether ``content`` has the secret in it."""
        return self._secret.encode() in content

    def __len__(self) -> int:
        return len(self._secret)


def read_token(name: str, auth: Mapping[str, str], section: str = "archives") -> Token | None:
    """Read the token of an archive.

    Parameters
    ----------
    name : str
        The archive, for the message.
    section : str, optional
        Section of the configuration that has it, for the message.
    auth : mapping
        The entry's ``auth``: ``token_env``, an environment variable, is looked at first, then
        ``token_file``.

    Returns
    -------
    Token or None
        None if the entry asks for no token.

    Raises
    ------
    AuthenticationError
        If there is no token where the entry says, or others may read the file.
    """
    if not auth:
        return None
    variable, file = auth.get("token_env"), auth.get("token_file")
    secret = os.environ.get(variable, "").strip() if variable else ""
    if not secret and file:
        try:
            secret = read_secret_file(f"{section}.{name}.auth.token_file", Path(file).expanduser())
        except ConfigError as error:
            raise AuthenticationError(str(error)) from error.__cause__
    if secret and secret.isascii() and secret.isprintable() and " " not in secret:
        return Token(secret)
    places = [f"environment variable {variable}"] if variable else []
    places += [f"file {file}"] if file else []
    found = "a value with blanks or other characters that no token has" if secret else "nothing"
    raise AuthenticationError(
        f"{section}.{name}.auth: found {found} in {' and '.join(places)}, expected the token of the"
        " service"
    )


def check_tokens(archives: Iterable[ArchiveSpec]) -> None:
    """Check that every archive that asks for a token has one, before anything is fetched.

    Parameters
    ----------
    archives : iterable of ArchiveSpec
        One whose replies are kept ones needs none.

    Raises
    ------
    ConfigError
        If a token is missing, or others can read its file; the message has a line for each archive.
    """
    problems = []
    for spec in archives:
        if spec.is_replayed:
            continue
        try:
            read_token(spec.name, spec.auth)
        except AuthenticationError as error:
            problems.append(f"{error}; or archives.{spec.name}.enabled: false")
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''} with tokens:"
        raise ConfigError("\n  ".join([count, *problems]))


def read_secret_file(key: str, path: Path) -> str:
    """Read a secret from a file that only its owner can read.

    Parameters
    ----------
    key : str
        Key of the configuration that names the file, for the message.
    path : Path

    Returns
    -------
    str
        Empty if there is no such file.

    Raises
    ------
    ConfigError
        If others may read the file, or nobody can.
    """
    if not path.is_file():
        return ""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            f"{key}: {path} has mode {mode:04o}, expected 0600: others than its owner may use the"
            " secret in it"
        )
    try:
        # What is no text is no secret either.
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error.strerror}") from error
