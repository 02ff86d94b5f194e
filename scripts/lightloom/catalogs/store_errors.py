"""What went wrong at a store, by the exceptions of the many libraries that ask stores."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import NoCredentialsError

from lightloom.errors import ArchiveError, DamagedFileError, TransientArchiveError

#: HTTP statuses that another attempt will not change.
_ABSENT = (404, 410)
_REFUSED = (401, 403)
_REFUSALS = (PermissionError, NoCredentialsError)

#: Codes of S3 (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html); the answer to
#: HEAD has none, only its status.
_EXPIRED = frozenset({"ExpiredToken", "RequestExpired", "TokenRefreshRequired"})
_ELSEWHERE = frozenset(
    {
        "301",
        "307",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "Redirect",
        "TemporaryRedirect",
    }
)
_BAD_REQUEST = "400"


def archive_error(path: str, storage_options: Mapping[str, Any], error: Exception) -> ArchiveError:
    """Return the error of an archive that an exception stands for.

    Parameters
    ----------
    path : str
        The file or folder.
    storage_options : mapping
        How it was asked for; of credentials the result says nothing but whether there were some.
    error : Exception

    Returns
    -------
    ArchiveError
        By its class it says whether the failure may pass.
    """
    # Its import takes a fifth of a second, which jobs that ask no store do without.
    from aiohttp import ClientError

    # fsspec calls a file absent whenever it cannot learn its size by HTTP; the cause tells why.
    cause = error.__cause__ if isinstance(error.__cause__, ClientError) else error
    status = getattr(cause, "status", None)
    if isinstance(cause, FileNotFoundError | NotADirectoryError) or status in _ABSENT:
        return DamagedFileError(f"{path}: listed or expected, but absent")
    refusal = _refusal_of_s3(error)
    if refusal:
        return ArchiveError(f"{path}: {refusal}; {_asked(storage_options)}")
    if isinstance(cause, _REFUSALS) or status in _REFUSED:
        how = f"; {_asked(storage_options)}" if urlsplit(path).scheme in ("s3", "s3a") else ""
        return ArchiveError(f"{path}: reading is not allowed ({cause}){how}")
    if isinstance(cause, ImportError | ValueError):
        return ArchiveError(f"{path}: no file system reads this address ({cause})")
    return TransientArchiveError(f"{path}: reading broke off ({cause!r})")


def _refusal_of_s3(error: Exception) -> str:
    """Return what S3 does not like about a request that no repetition mends, or nothing."""
    response = getattr(error.__cause__, "response", None)
    if not isinstance(response, dict):
        return ""
    code = str(response.get("Error", {}).get("Code", ""))
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region")
    if code in _EXPIRED:
        return f"the credentials have expired ({code}), expected new ones in the environment"
    if code in _ELSEWHERE:
        where = f"in {region}" if region else "in another region"
        return f"the bucket is {where} ({code}), expected its region in the configuration"
    if code == _BAD_REQUEST:
        return "the request was refused (400): credentials that have expired, or another region"
    return ""


def _asked(storage_options: Mapping[str, Any]) -> str:
    """Tell how a store was asked, without what is secret."""
    region = storage_options.get("client_kwargs", {}).get("region_name")
    return ", ".join(
        [
            "asked anonymously" if storage_options.get("anon") else "asked with credentials",
            "as one who pays (requester_pays)"
            if storage_options.get("requester_pays")
            else "without requester_pays",
            f"for region {region}" if region else "without a region",
        ]
    )
