"""From a URL and `storage_options` to what obstore is to be asked for; pure, but for a look at AWS's files.

The options are those of s3fs, gcsfs and adlfs, as far as obstore has the like, and obstore's own (``region``,
``client_options``, ``retry_config``). Where there is one that cannot be translated, fsspec is to be taken.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from zarrds.errors import EncodingError
from zarrds.storage.secrets import without_secrets

__all__ = ["SCHEMES", "Place", "UntranslatableError", "credentials_of", "place_of", "region_of"]

SCHEMES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "http", "https"})

_BLOB_HOST = re.compile(r"([a-z0-9-]+)\.(?:blob|dfs)\.core\.windows\.net\Z", re.IGNORECASE)
# of fsspec itself, or of what packages do that obstore does otherwise: nothing that is stored depends on them
_WITHOUT_MEANING = frozenset(
    "asynchronous loop skip_instance_cache use_listings_cache listings_expiry_time max_paths default_block_size"
    " default_fill_cache default_cache_type default_cache_options block_size cache_type cache_options cache_regions"
    " max_concurrency fixed_upload_size version_aware use_ssl access consistency check_connection cache_timeout"
    " requests_timeout session_kwargs encoded simple_links same_scheme size_policy batch_size project location".split()
)
_OBSTORES = ("client_options", "retry_config")
# an answer that does not come is given up after some seconds, not minutes: whoever waits is told
_RETRIES: Mapping[str, Any] = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=60),
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
        For a URL that names no place.
    """
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
    if scheme in ("s3", "s3a"):
        return _s3(rest, given)
    return _gcs(rest, given) if scheme in ("gs", "gcs") else _azure(scheme, rest, given)


def _built(
    kind: str, scheme: str, rest: str, config: dict[str, Any], given: Mapping[str, Any], secrets: tuple[str, ...]
) -> Place:
    """A place, once all options were taken from `given`, but for those that are obstore's."""
    left = [name for name in given if name not in _OBSTORES]
    if left:
        raise UntranslatableError(left[0])
    client = dict(config.pop("client_options", {})) | dict(given.get("client_options", {}))
    retries = {**_RETRIES, **given.get("retry_config", {})}
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    config = {name: value for name, value in config.items() if value is not None}
    shown = tuple({text for each in secrets if each for text in (each, urllib.parse.quote(each, safe=""))})
    name = f"{scheme}://{bucket}/{prefix}".rstrip("/")
    return Place(kind, name, bucket, prefix, config | {"client_options": client, "retry_config": retries}, None, shown)


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
# as botocore's clients and AWS's files both call them
_AWS_NAMES = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "endpoint_url": "endpoint",
}
_ENCRYPTION_NAMES = {"ServerSideEncryption": "server_side_encryption", "SSEKMSKeyId": "sse_kms_key_id"}


def _s3(rest: str, given: dict[str, Any]) -> Place:
    config: dict[str, Any] = {}
    client = dict(given.pop("client_kwargs", {}))
    _taken(client, _AWS_NAMES | {"region_name": "region"}, config)
    if client.get("verify") is False:
        config["client_options"] = {"allow_invalid_certificates": True}
    client = {name: value for name, value in client.items() if name not in ("verify", "use_ssl")}
    if client:
        raise UntranslatableError(f"client_kwargs[{next(iter(client))!r}]")
    _taken(given, _S3_NAMES, config)
    _addressing(given.pop("config_kwargs", {}), config)
    more = dict(given.pop("s3_additional_kwargs", {}))
    _taken(more, _ENCRYPTION_NAMES, config)
    if more:
        raise UntranslatableError(f"s3_additional_kwargs[{next(iter(more))!r}]")
    if given.pop("requester_pays", False):
        config["request_payer"] = True
    _allowing_http(config, config.get("endpoint") or os.environ.get("AWS_ENDPOINT_URL"))
    profile = given.pop("profile", None)
    if given.pop("anon", False):
        config["skip_signature"] = True
    secrets = tuple(str(config[name]) for name in ("secret_access_key", "session_token") if config.get(name))
    found = _built("S3Store", "s3", rest, config, given, secrets)
    is_known = "skip_signature" in config or "access_key_id" in config
    if is_known or (profile is None and os.environ.get("AWS_ACCESS_KEY_ID")):
        return found
    wanted = profile or os.environ.get("AWS_PROFILE") or "default"
    return replace(found, profile=wanted)


def _addressing(settings: Mapping[str, Any], config: dict[str, Any]) -> None:
    left = {name: value for name, value in settings.items() if name not in ("max_pool_connections", "retries")}
    style = dict(left.pop("s3", {}))
    if style.pop("addressing_style", "auto") == "virtual":
        config["virtual_hosted_style_request"] = True
    for name in ("connect_timeout", "read_timeout"):
        if name in left:
            config.setdefault("client_options", {})[name] = timedelta(seconds=float(left.pop(name)))
    if left or style:
        raise UntranslatableError(f"config_kwargs[{next(iter([*left, *style]))!r}]")


def _gcs(rest: str, given: dict[str, Any]) -> Place:
    config: dict[str, Any] = {}
    if given.pop("requester_pays", False):
        raise UntranslatableError("requester_pays")
    token, secrets = given.pop("token", None), tuple[str, ...]()
    if given.pop("anon", False) or token == "anon":
        config["skip_signature"] = True
    elif isinstance(token, Mapping):
        config["service_account_key"] = json.dumps(dict(token))
        secrets = (str(token.get("private_key", "")),)
    elif isinstance(token, str) and os.path.isfile(os.path.expanduser(token)):
        config["application_credentials"] = os.path.expanduser(token)
    elif token not in (None, "google_default"):
        raise UntranslatableError("token")
    _taken(given, {"endpoint_url": "base_url"}, config)
    _allowing_http(config, config.get("base_url"))
    return _built("GCSStore", "gs", rest, config, given, secrets)


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
    secrets = tuple(str(config[name]) for name in ("account_key", "sas_key", "client_secret") if config.get(name))
    return _built("AzureStore", "az", f"{container}{slash}{prefix}", config, given, secrets)


def _http(url: str, given: dict[str, Any]) -> Place:
    parts = urllib.parse.urlsplit(url)
    if parts.query:
        raise EncodingError(
            "the query of a URL belongs to one document, and cannot be kept for all keys below it",
            path=without_secrets(url),
            mend="Give the store's URL without it. Keys go into storage_options, signed URLs of Azure are taken",
        )
    headers: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    client = dict(given.pop("client_kwargs", {}))
    for each in (client.pop("headers", None), given.pop("headers", None)):
        headers |= dict(each or {})
    if parts.username or parts.password:
        import base64  # which few need

        pair = f"{urllib.parse.unquote(parts.username or '')}:{urllib.parse.unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        secrets += (parts.password or "", urllib.parse.unquote(parts.password or ""))
    if client:
        raise UntranslatableError(f"client_kwargs[{next(iter(client))!r}]")
    secrets += tuple(value for name, value in headers.items() if name.lower() in ("authorization", "cookie"))
    options: dict[str, Any] = {"allow_http": True}
    if headers:
        options["default_headers"] = headers
    base = without_secrets(url).rstrip("/")
    found = _built("HTTPStore", "http", "x", {"client_options": options}, given, secrets)
    return replace(found, name=base, root=base)


def credentials_of(profile: str) -> tuple[dict[str, str], Callable[[], Any] | None]:
    """What AWS's files say of a profile: arguments of `S3Store`, and perhaps a function that gives credentials.

    Raises
    ------
    EncodingError
        If the profile was asked for and is not there, or needs botocore, which is not installed.
    """
    files = {
        "": os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        "profile ": os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
    }
    said: dict[str, str] = {}
    for start, path in files.items():
        parser = configparser.RawConfigParser()
        try:
            parser.read(os.path.expanduser(path), encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue
        for section in (profile, f"{start}{profile}"):
            if parser.has_section(section):
                said = {**dict(parser.items(section)), **said}
    if not said and profile != "default":
        raise EncodingError(
            "AWS's files have no such profile",
            expected=f"[{profile}] in {' or '.join(files.values())}",
            mend="Check the option profile, or AWS_PROFILE",
        )
    config = {to: said[name] for name, to in (_AWS_NAMES | {"region": "region"}).items() if name in said}
    if "access_key_id" in config or not {"role_arn", "sso_session", "sso_start_url", "credential_process"} & set(said):
        return config, None
    return config, _by_botocore(profile)


def _by_botocore(profile: str) -> Callable[[], Any]:
    try:
        from botocore.session import Session
    except ImportError as exc:
        raise EncodingError(
            f"the credentials of the profile {profile!r} are not keys, but are to be asked for",
            mend="Install botocore (python -m pip install botocore), which knows how, or pass key and secret",
        ) from exc
    found = Session(profile=profile).get_credentials()

    def credentials() -> dict[str, Any]:
        frozen = found.get_frozen_credentials()
        token = {"token": frozen.token} if frozen.token else {}
        expires = getattr(found, "_expiry_time", None)  # of those that botocore renews; it has no public name
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            **token,
            "expires_at": expires,
        }

    return credentials


def region_of(where: Place) -> str | None:
    """The region of a bucket, which AWS tells everybody."""
    if "endpoint" in where.config:
        return None
    import urllib.error  # which few need
    import urllib.request

    request = urllib.request.Request(f"https://s3.amazonaws.com/{where.root}", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.headers.get("x-amz-bucket-region") or "") or None
    except urllib.error.HTTPError as exc:
        return exc.headers.get("x-amz-bucket-region")
    except OSError:
        return None
