"""From a URL and `storage_options` to what obstore is to be asked for.

The options are those of s3fs, gcsfs and adlfs, as far as obstore has the like, and obstore's own (``region``,
``client_options``, ``retry_config``). Where there is one that cannot be translated, fsspec is to be taken.
"""

from __future__ import annotations

import json
import os
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from zarrds.errors import EncodingError, UnsupportedError
from zarrds.storage.obstore.aws import AWS_NAMES
from zarrds.storage.secrets import secrets_of, spellings, without_secrets

__all__ = ["REPEATS", "REPEAT_SECONDS", "SCHEMES", "Place", "UntranslatableError", "for_fsspec", "place_of"]

SCHEMES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "http", "https"})

_BLOB_HOST = re.compile(r"([a-z0-9-]+)\.(?:blob|dfs)\.core\.windows\.net\Z", re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9_.$:@-]+\Z")  # of any of them; with an account at Azure's, or a name of Amazon's
# of fsspec itself, or of what packages do that obstore does otherwise: nothing that is stored depends on them
_WITHOUT_MEANING = frozenset(
    "asynchronous loop skip_instance_cache use_listings_cache listings_expiry_time max_paths default_block_size"
    " default_fill_cache default_cache_type default_cache_options block_size cache_type cache_options cache_regions"
    " max_concurrency fixed_upload_size version_aware use_ssl access consistency check_connection cache_timeout"
    " requests_timeout session_kwargs encoded simple_links same_scheme size_policy batch_size project location".split()
)
_OBSTORES = ("client_options", "retry_config")
REPEATS = 6  # of a request that failed
REPEAT_SECONDS = 60.0  # in which it is repeated
# an answer that does not come is given up after some seconds, not minutes: whoever waits is told
_RETRIES: Mapping[str, Any] = {
    "max_retries": REPEATS,
    "retry_timeout": timedelta(seconds=REPEAT_SECONDS),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
}


class UntranslatableError(Exception):
    """An option that obstore has nothing like; its name is the only argument."""


@dataclass(frozen=True)
class Place:
    """Where a store is, for obstore.

    Attributes
    ----------
    kind : {"S3Store", "GCSStore", "AzureStore", "HTTPStore"}
        The class of obstore.
    name : str
        How others may know it: the same for all spellings, and without secrets.
    root : str
        The bucket or container; of a web server its URL.
    prefix : str
        What the names of the objects begin with.
    config : mapping
        Further arguments of the class; they may be secret.
    profile : str or None
        Of AWS's files, where credentials are that no option says; None where they need not be looked at.
    secrets : tuple of str
        What no error may show.
    """

    kind: str
    name: str
    root: str
    prefix: str
    config: Mapping[str, Any] = field(repr=False)
    profile: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)


def place_of(url: str, options: Mapping[str, Any]) -> Place:
    """What obstore is to be asked for.

    Parameters
    ----------
    url : str
        Of one of `SCHEMES`.
    options : mapping
        As fsspec takes them.

    Raises
    ------
    UntranslatableError
        With the name of an option that only fsspec's package has.
    EncodingError
        For a URL that names no place, and for options of other types than they must be.
    """
    try:
        found = _place_of(url, options)
        return replace(found, secrets=spellings(secrets_of([url, options, found.config])))
    except EncodingError as error:
        error.located(path=without_secrets(url))
        raise
    except (TypeError, ValueError, AttributeError) as exc:
        kind = type(exc).__name__
    raise EncodingError(  # outside of the block, so that what may be secret does not stand in its context
        "the URL, or its storage_options, cannot be used",
        path=without_secrets(url),
        found=kind,
        mend="Check the types of the options: docs/remote.md lists them",
    )


def _place_of(url: str, options: Mapping[str, Any]) -> Place:
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    given = {name: value for name, value in options.items() if name not in _WITHOUT_MEANING and value is not None}
    host, _, path = rest.partition("/")
    blob = _BLOB_HOST.match(host) if scheme in ("http", "https") and "?" in path else None
    if blob is not None and "sig=" in path:  # a signed URL of Azure
        path, _, query = path.partition("?")
        return _azure("az", path, given | {"account_name": blob[1], "sas_token": query})
    if scheme in ("http", "https"):
        return _http(url, given)
    if not host:
        raise EncodingError("the URL names no bucket", path=url, expected=f"{scheme}://bucket/t2m.zarr")
    _check_bucket_url(url, scheme, host, path)
    if scheme in ("s3", "s3a"):
        return _s3(rest, given)
    return _gcs(rest, given) if scheme in ("gs", "gcs") else _azure(scheme, rest, given)


def _check_bucket_url(url: str, scheme: str, host: str, path: str) -> None:
    problem = None
    if without_secrets(url) != url:
        problem = "the URL of a bucket takes no user, no password and no query: they go into storage_options"
    elif not _BUCKET.match(host):
        problem = "the URL names a bucket that there cannot be"
    elif path.startswith("/") or any(part in ("", ".", "..") for part in path.rstrip("/").split("/") if path):
        problem = "the URL has an empty part, or one that is '.' or '..', which no object's name can have here"
    elif any(ord(c) < 32 or ord(c) == 127 for c in path):
        problem = "the URL has a control character, which no object's name can have here"
    if problem is not None:
        raise EncodingError(
            problem, path=without_secrets(url), expected=f"{scheme}://bucket/folder/t2m.zarr", mend="Correct the URL"
        )


def _popped(options: dict[str, Any], name: str) -> dict[str, Any]:
    """Take out an option that is a mapping of names to values; empty if it is not given."""
    value = options.pop(name, None)
    if value is None:
        return {}
    if isinstance(value, Mapping) and all(isinstance(each, str) for each in value):
        return dict(value)
    raise EncodingError(
        f"the storage option {name} is no mapping of names to values", expected="a dict", found=type(value).__name__
    )


def _built(kind: str, scheme: str, rest: str, config: dict[str, Any], given: dict[str, Any]) -> Place:
    """A place, once all options were taken from `given`, but for those that are obstore's."""
    left = [name for name in given if name not in _OBSTORES]
    if left:
        raise UntranslatableError(left[0])
    client = config.pop("client_options", {}) | _popped(given, "client_options")
    _popped(dict(client), "default_headers")
    retries = {**_RETRIES, **_popped(given, "retry_config")}
    if unknown := [name for name in retries if name not in _RETRIES]:  # which obstore would leave out
        raise EncodingError("retry_config takes no such option", expected=", ".join(_RETRIES), found=unknown[0])
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    config = {name: value for name, value in config.items() if value is not None}
    name = f"{scheme}://{bucket}/{prefix}".rstrip("/")
    return Place(kind, name, bucket, prefix, config | {"client_options": client, "retry_config": retries})


def _taken(given: dict[str, Any], names: Mapping[str, str], config: dict[str, Any]) -> None:
    """Move options to obstore's names for them."""
    for name, to in names.items():
        if name in given:
            config[to] = given.pop(name)


def _allowing_http(config: dict[str, Any], endpoint: object) -> None:
    if isinstance(endpoint, str) and endpoint.startswith("http://"):
        config.setdefault("client_options", {})["allow_http"] = True


_S3_NAMES = {
    "key": "access_key_id",
    "username": "access_key_id",
    "secret": "secret_access_key",
    "password": "secret_access_key",
    "token": "session_token",
    "endpoint_url": "endpoint",
    "region": "region",
    "region_name": "region",
}
_ENCRYPTION_NAMES = {"ServerSideEncryption": "server_side_encryption", "SSEKMSKeyId": "sse_kms_key_id"}


def _s3(rest: str, given: dict[str, Any]) -> Place:
    config: dict[str, Any] = {}
    client = _popped(given, "client_kwargs")
    _taken(client, AWS_NAMES | {"region_name": "region"}, config)
    if client.get("verify") is False:
        config["client_options"] = {"allow_invalid_certificates": True}
    client = {name: value for name, value in client.items() if name not in ("verify", "use_ssl")}
    if client:
        raise UntranslatableError(f"client_kwargs[{next(iter(client))!r}]")
    _taken(given, _S3_NAMES, config)
    _addressing(_popped(given, "config_kwargs"), config)
    more = _popped(given, "s3_additional_kwargs")
    _taken(more, _ENCRYPTION_NAMES, config)
    if more:
        raise UntranslatableError(f"s3_additional_kwargs[{next(iter(more))!r}]")
    if given.pop("requester_pays", False):
        config["request_payer"] = True
    _allowing_http(config, config.get("endpoint") or os.environ.get("AWS_ENDPOINT_URL"))
    profile = given.pop("profile", None)
    if not isinstance(profile, str | None):
        raise EncodingError("the storage option profile is no name", found=type(profile).__name__)
    if given.pop("anon", False):
        config["skip_signature"] = True
    found = _built("S3Store", "s3", rest, config, given)
    is_known = "skip_signature" in config or "access_key_id" in config
    if is_known or (profile is None and os.environ.get("AWS_ACCESS_KEY_ID")):
        return found
    wanted = profile or os.environ.get("AWS_PROFILE") or "default"
    return replace(found, profile=wanted)


def _addressing(settings: Mapping[str, Any], config: dict[str, Any]) -> None:
    left = {name: value for name, value in settings.items() if name not in ("max_pool_connections", "retries")}
    style = _popped(left, "s3")
    if style.pop("addressing_style", "auto") == "virtual":
        config["virtual_hosted_style_request"] = True
    for name in ("connect_timeout", "read_timeout"):
        if name in left:
            seconds = left.pop(name)
            if isinstance(seconds, bool) or not isinstance(seconds, int | float):
                raise EncodingError(
                    f"the storage option config_kwargs[{name!r}] is no number of seconds", found=type(seconds).__name__
                )
            config.setdefault("client_options", {})[name] = timedelta(seconds=seconds)
    if left or style:
        raise UntranslatableError(f"config_kwargs[{next(iter([*left, *style]))!r}]")


def _gcs(rest: str, given: dict[str, Any]) -> Place:
    config: dict[str, Any] = {}
    if given.pop("requester_pays", False):
        raise UntranslatableError("requester_pays")
    token = given.pop("token", None)
    if given.pop("anon", False) or token == "anon":
        config["skip_signature"] = True
    elif isinstance(token, Mapping):
        config["service_account_key"] = json.dumps(dict(token))
    elif isinstance(token, str) and os.path.isfile(os.path.expanduser(token)):
        config["application_credentials"] = os.path.expanduser(token)
    elif token not in (None, "google_default"):
        raise UntranslatableError("token")
    _taken(given, {"endpoint_url": "base_url"}, config)
    _allowing_http(config, config.get("base_url"))
    return _built("GCSStore", "gs", rest, config, given)


_AZURE_NAMES = {
    "account_name": "account_name",
    "account_key": "account_key",
    "sas_token": "sas_key",
    "tenant_id": "tenant_id",
    "client_id": "client_id",
    "client_secret": "client_secret",
}
_CONNECTION_NAMES = {
    "AccountName": "account_name",
    "AccountKey": "account_key",
    "SharedAccessSignature": "sas_key",
    "BlobEndpoint": "endpoint",
}


def _azure(scheme: str, rest: str, given: dict[str, Any]) -> Place:
    config: dict[str, Any] = {}
    bucket, slash, prefix = rest.partition("/")
    container, at, host = bucket.partition("@")
    if at:  # abfs://container@account.dfs.core.windows.net/path
        config["account_name"] = host.partition(".")[0]
    text = given.pop("connection_string", None)
    if text:
        parts = dict(part.split("=", 1) for part in str(text).split(";") if "=" in part)
        config |= {to: parts[name] for name, to in _CONNECTION_NAMES.items() if name in parts}
    _taken(given, _AZURE_NAMES, config)
    if given.pop("anon", False):
        config["skip_signature"] = True
    _allowing_http(config, config.get("endpoint"))
    return _built("AzureStore", "az", f"{container}{slash}{prefix}", config, given)


def _http(url: str, given: dict[str, Any]) -> Place:
    parts = urllib.parse.urlsplit(url)
    if parts.query:
        raise EncodingError(
            "the query of a URL belongs to one document, and cannot be kept for all keys below it",
            path=without_secrets(url),
            mend="Give the store's URL without it. Keys go into storage_options, signed URLs of Azure are taken",
        )
    if not parts.hostname:
        raise EncodingError("the URL names no server", path=url, expected="https://host/t2m.zarr")
    if "#" in url:
        raise EncodingError(
            "the URL of a store has no fragment, which no server is sent",
            path=without_secrets(url),
            mend="If '#' is part of a name, write %23",
        )
    client = _popped(given, "client_kwargs")
    headers = _popped(client, "headers") | _popped(given, "headers")
    base = without_secrets(url).rstrip("/")
    if parts.username or parts.password:
        import base64  # which few need

        pair = f"{urllib.parse.unquote(parts.username or '')}:{urllib.parse.unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    elif urllib.parse.urlsplit(base).netloc != parts.netloc:
        raise EncodingError("the user or the password in the URL holds a '/'", path=base, mend="Write %2F for it")
    if client:
        raise UntranslatableError(f"client_kwargs[{next(iter(client))!r}]")
    options: dict[str, Any] = {"allow_http": True}
    if headers:
        options["default_headers"] = headers
    found = _built("HTTPStore", "http", "x", {"client_options": options}, given)
    return replace(found, name=base, root=base)


# of obstore's clients: what other clients have to do as well, or must not be left out
_OF_MEANING = re.compile(r"header|proxy|certificate|allow_invalid", re.IGNORECASE)


def for_fsspec(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options for fsspec's package, where that does the work: those of obstore's own in its words, or left out.

    Raises
    ------
    UnsupportedError
        For one that fsspec's package has nothing like, and that must not be left out.
    """
    scheme = url.partition("://")[0].lower()
    if scheme not in SCHEMES:
        return dict(options)
    given = {name: value for name, value in options.items() if name not in _OBSTORES}
    client = options.get("client_options")
    client = dict(client) if isinstance(client, Mapping) else {}
    if scheme in ("http", "https") and isinstance(client.get("default_headers"), Mapping):
        given["headers"] = {**client.pop("default_headers"), **dict(given.get("headers") or {})}
    for name in client:
        if _OF_MEANING.search(str(name)):
            raise UnsupportedError(
                "obstore cannot do the work here, and fsspec's packages have nothing like an option",
                path=without_secrets(url),
                found=f"client_options[{name!r}]",
                mend="Leave it out, or use obstore: in a process that was not forked, and without options that only "
                "fsspec's packages have",
            )
    region = given.pop("region", None) if scheme in ("s3", "s3a") else None
    if region is not None:
        given["client_kwargs"] = {"region_name": region, **dict(given.get("client_kwargs") or {})}
    return given
