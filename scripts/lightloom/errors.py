"""The errors that Lightloom raises, and how a failed search is classed in the ledger."""

from lightloom.printing import printable


class LightloomError(Exception):
    """Any error whose message is meant for the user; what it repeats of others is shown escaped."""

    def __str__(self) -> str:
        return printable(super().__str__())


class ConfigError(LightloomError):
    """The configuration or the archive catalogue is wrong."""


class SampleError(LightloomError):
    """A table of targets is wrong."""


class ResultError(LightloomError):
    """A finished file is missing, damaged or does not belong to this run."""


class ClusterError(LightloomError):
    """A Dask cluster cannot be used, or was lost."""


class ArchiveError(LightloomError):
    """A search of an archive failed.

    Parameters
    ----------
    message : str
    status : int, optional
        HTTP status of the answer, if there was one.
    retry_after_s : float, optional
        How long the archive wants to be left alone [s].

    Attributes
    ----------
    error_class : str
        The class written into the ledger: ``transient`` failures are worth another attempt within
        the same job, the others are not.
    """

    error_class = "permanent"

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class TransientArchiveError(ArchiveError):
    """The archive did not answer, or broke off; the same request may succeed later."""

    error_class = "transient"


class ArchiveDownError(TransientArchiveError):
    """The archive is down, busy, or wants to be left alone, for longer than a job waits."""


class AuthenticationError(ArchiveError):
    """The archive wants a token, or refuses the one it got."""

    error_class = "authentication"


class BadRequestError(ArchiveError):
    """The archive says that the request is wrong."""

    error_class = "bad_request"


class TruncatedAnswerError(ArchiveError):
    """The archive cut its answer short; what it left out is unknown."""

    error_class = "truncated"


class TooLargeError(ArchiveError):
    """An answer would take more memory than a worker has; it is asked for in pieces.

    Parameters
    ----------
    message : str
    n_pieces : int
        Into how many the request should be divided.
    """

    def __init__(self, message: str, *, n_pieces: int = 2) -> None:
        super().__init__(message)
        self.n_pieces = n_pieces


class ArchiveSchemaError(ArchiveError):
    """The archive answered with columns, types or units other than its catalogue entry says."""

    error_class = "schema_changed"


class DamagedFileError(ArchiveError):
    """A file of the archive cannot be decoded, or is listed but absent."""

    error_class = "damaged_file"


class MissingReplyError(ArchiveError):
    """A replay needs the reply to a request that is not among the kept ones."""

    error_class = "not_kept"
