"""The errors that Lightloom raises, and how a failed search is classed in the ledger."""


class LightloomError(Exception):
    """Any error whose message is meant for the user."""


class ConfigError(LightloomError):
    """The configuration or the archive catalogue is wrong."""


class SampleError(LightloomError):
    """A table of targets is wrong."""


class ResultError(LightloomError):
    """A finished file is missing, damaged or does not belong to this run."""


class ArchiveError(LightloomError):
    """A search of an archive failed.

    Attributes
    ----------
    error_class : str
        The class written into the ledger: ``transient`` failures are worth another attempt,
        the others are not.
    """

    error_class = "permanent"


class TransientArchiveError(ArchiveError):
    """The archive did not answer, or broke off; the same request may succeed later."""

    error_class = "transient"


class ArchiveSchemaError(ArchiveError):
    """The archive answered with columns, types or units other than its catalogue entry says."""

    error_class = "schema_changed"


class DamagedFileError(ArchiveError):
    """A file of the archive cannot be decoded, or is listed but absent."""

    error_class = "damaged_file"
