"""Which copy of an archive's data is read, of those on premises and those in a cloud.

Imported whenever the Snakefile is read, so nothing heavy may be imported here.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from lightloom.errors import ArchiveSchemaError, ConfigError

#: What `access` may say.
AUTO, CLOUD, ONPREM = "auto", "cloud", "onprem"

#: Value of `access_region` that has the instance ask its own metadata.
METADATA = "metadata"

#: Name of the place that an entry itself describes.
OWN = "archive"

#: Column of SIA, TAP and DataLink replies with the copies of a file, as IRSA and MAST publish them.
CLOUD_ACCESS = "cloud_access"

_CLOUD_SCHEMES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
#: Ends of the names of hosts at which object stores are read by HTTP.
_CLOUD_HOSTS = (".amazonaws.com", "storage.googleapis.com", ".core.windows.net")
_REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")

#: Accesses in a `cloud_access` record that say: without credentials.
_OPEN = frozenset({"", "open", "public"})


@dataclass(frozen=True)
class Copy:
    """A place with an archive's data.

    Attributes
    ----------
    name : str
    endpoint : str
        A folder or URL that fsspec opens with ``storage_options``, or the URL of a service.
    detections : str
        The same of the catalogue of detections; empty if the archive has none.
    region : str
        Region of the cloud; empty: none, or unknown.
    storage_options : mapping
    release : str
        Empty: that of the entry.
    paths : sequence of mapping
        Rules ``uri`` and ``path`` that make the path of a service's file of its address.
    root : str
        Of a single file: what it lies below, by which its copy is known.
    """

    name: str
    endpoint: str
    detections: str = ""
    region: str = ""
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    release: str = ""
    paths: Sequence[Mapping[str, str]] = ()
    root: str = ""

    @property
    def in_cloud(self) -> bool:
        """Whether it is in an object store of a cloud."""
        address = urlsplit(self.endpoint)
        host = address.hostname or ""
        return address.scheme in _CLOUD_SCHEMES or host.endswith(_CLOUD_HOSTS)

    @property
    def is_remote(self) -> bool:
        """Whether it is not on this machine's file systems."""
        return "://" in self.endpoint

    def is_near(self, region: str) -> bool:
        """Tell whether it is on this machine's file systems, or in the region of the run."""
        return not self.is_remote or bool(region and self.region == region)

    @property
    def options(self) -> dict[str, Any]:
        """The storage options, with the region where the store has to be told."""
        options = dict(self.storage_options)
        if self.region and urlsplit(self.endpoint).scheme in ("s3", "s3a"):
            options["client_kwargs"] = {
                "region_name": self.region,
                **options.get("client_kwargs", {}),
            }
        return options

    def file(self, uri: str) -> "Copy | None":
        """Return the copy of a service's file, or None if no rule says where it is."""
        for rule in self.paths:
            if found := re.search(rule["uri"], uri):
                endpoint = f"{self.endpoint.rstrip('/')}/{found.expand(rule['path'])}"
                return replace(self, endpoint=endpoint, root=self.endpoint)
        return None

    def __str__(self) -> str:
        where = self.root or self.endpoint
        return f"{self.name} ({', '.join(filter(None, (where, self.region)))})"


def choose_copy(copies: Iterable[Copy], access: str, region: str) -> Copy | None:
    """Choose the place to read from.

    Parameters
    ----------
    copies : iterable of Copy
        All of them, the one that is read if nothing speaks for another first.
    access : str
        ``auto`` takes one that is near, ``cloud`` one in a cloud if there is any, ``onprem`` none
        of those.
    region : str
        Where the run is; empty if that is not known.

    Returns
    -------
    Copy or None
        None if there is no copy that may be read.
    """
    allowed = [copy for copy in copies if access != ONPREM or not copy.in_cloud]
    if access == CLOUD:
        allowed.sort(key=lambda copy: not copy.in_cloud)
        allowed = [copy for copy in allowed if copy.in_cloud == allowed[0].in_cloud]
    # The sort is stable.
    return min(allowed, key=lambda copy: not copy.is_near(region), default=None)


def published_copies(record: str | Mapping[str, Any] | None, known: Iterable[Copy]) -> list[Copy]:
    """Read a ``cloud_access`` record, which says where copies of one file are.

    Parameters
    ----------
    record : str, mapping or None
        Such as ``{"aws": {"bucket_name": ..., "key": ..., "region": ...}}``, as JSON or as the
        object itself; of a provider there may be a list. Empty: there are none.
    known : iterable of Copy
        Copies that the configuration names: one of the provider's name says how it is reached.

    Returns
    -------
    list of Copy
        In the order of the providers' names, without those that need credentials nobody has
        configured.

    Raises
    ------
    ArchiveSchemaError
        If the record is not of this form.
    """
    if not record:
        return []
    try:
        providers = json.loads(record) if isinstance(record, str) else dict(record)
        reached = {copy.name: copy for copy in known}
        return [
            copy
            for provider, places in sorted((providers or {}).items())
            for place in (places if isinstance(places, list) else [places])
            if (copy := _published_copy(provider, place, reached.get(provider)))
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArchiveSchemaError(
            f"column {CLOUD_ACCESS!r} is {record!r} ({error!r}), expected JSON such as"
            ' {"aws": {"bucket_name": "...", "key": "...", "region": "..."}}'
        ) from error


def _published_copy(provider: str, place: Mapping[str, Any], known: Copy | None) -> Copy | None:
    if provider != "aws":
        return None
    # Both pairs of names are in use.
    bucket = place["bucket_name"] if "bucket_name" in place else place["bucket"]
    key = place["key"] if "key" in place else place["path"]
    endpoint = f"s3://{bucket}/{key.lstrip('/')}"
    if known is None:
        if str(place.get("access", "")).casefold() not in _OPEN:
            return None
        options: Mapping[str, Any] = {"anon": True}
    else:
        options = known.storage_options
        if not endpoint.startswith(f"{known.endpoint.rstrip('/')}/"):
            # Nobody has agreed to pay for what a record names.
            options = {name: value for name, value in options.items() if name != "requester_pays"}
    region = str(place.get("region") or "")
    return Copy(provider, endpoint, "", region, options, root=f"s3://{bucket}")


def run_region(configured: str) -> str:
    """Return the region of the cloud that the run is in, or nothing.

    Parameters
    ----------
    configured : str
        The region, ``metadata`` to ask the instance for it, or empty: as the environment says.

    Raises
    ------
    ConfigError
        If the instance should know and does not answer.
    """
    if configured != METADATA:
        named = (os.environ.get(name, "") for name in _REGION_VARIABLES)
        return configured or next(filter(None, named), "")
    from botocore.session import get_session
    from botocore.utils import IMDSRegionProvider

    # One attempt of a second, unless the variables of the AWS clients say otherwise.
    region = IMDSRegionProvider(get_session()).provide()
    if not region:
        raise ConfigError(
            f"access_region: found {METADATA!r}, but this machine has no metadata of an instance;"
            " expected the name of a region such as 'us-east-1', or nothing"
        )
    return str(region)
