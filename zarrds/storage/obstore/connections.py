"""Store objects of obstore: made from a place, or given by the user; and all that must not be shown of them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from importlib import import_module
from typing import Any

from zarrds.errors import EncodingError, ReleaseError, UnsupportedError
from zarrds.storage.obstore.aws import credentials_of
from zarrds.storage.obstore.failures import is_interrupt, shown
from zarrds.storage.obstore.places import Place
from zarrds.storage.secrets import secrets_of, spellings, without_secrets

__all__ = [
    "Connection",
    "Secrets",
    "connected",
    "digest_of",
    "forked",
    "is_usable",
    "location_of",
    "obstore_of",
    "place_of_object",
]

# where obstore looks for credentials itself
_ENVIRONMENTS = ("AWS_", "AZURE_", "GOOGLE_")
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
# what says which server it is: arguments, and where obstore looks for those that are not given
_SERVERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "S3Store": {"endpoint": _ENDPOINTS},
    "GCSStore": {"base_url": ("GOOGLE_BASE_URL",)},
    "AzureStore": {
        "endpoint": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        "account_name": ("AZURE_STORAGE_ACCOUNT_NAME",),
        "use_emulator": ("AZURE_STORAGE_USE_EMULATOR", "AZURITE_BLOB_STORAGE_URL"),
    },
}

# connections that are kept for whoever asks for the like again: one takes some ms to make, and begins with handshakes.
# Not for long, as files that obstore has read its credentials from may change
_MOST_KEPT = 16
_KEPT_SECONDS = 300.0
_kept: dict[Hashable, Connection] = {}

# as in pyproject.toml; 0.9 knows no `coalesce`, and before 0.8 keys with % or letters beyond ASCII become others
_OLDEST = (0, 10)

# obstore's threads are made once a process, and a forked child has none of them
_process: int | None = None


def is_usable() -> bool:
    """Whether obstore may be used by this process: not by one that was forked from one that used it."""
    return _process in (None, os.getpid())


def forked(path: str, found: str | None) -> UnsupportedError:
    """The error of a process that may not use it, and has no other package."""
    return UnsupportedError(
        "obstore cannot be used by a process that was forked from one that has used it",
        path=path,
        found=found,
        mend="Start processes with 'spawn' or 'forkserver'; or give a URL, and install the package of fsspec for this "
        "kind of URL, which is then used instead",
    )


def obstore_of(path: str) -> Any:
    """The module, which is optional; `path` is for the error if it is missing."""
    global _process
    try:
        import obstore
    except ImportError as exc:
        raise UnsupportedError(
            "stores in object storage need the package obstore",
            path=path,
            mend="Install it (python -m pip install 'zarrds[remote]'), or copy the data and give a local path",
        ) from exc
    if tuple(map(int, re.findall(r"\d+", obstore.__version__)[:2])) < _OLDEST:
        raise ReleaseError(
            "the installed obstore is too old for zarrds",
            path=path,
            expected="obstore 0.10 or later",
            found=obstore.__version__,
            mend="Update it: python -m pip install 'obstore>=0.10'",
        )
    _process = _process or os.getpid()
    return obstore


class Secrets:
    """What must not be shown; grows when credentials are renewed."""

    def __init__(self, known: tuple[str, ...]) -> None:
        self.known = known
        self.add({name: value for name, value in _environment() if name.startswith(_ENVIRONMENTS)})

    def add(self, things: object) -> None:
        """Add all that is secret in options, or in what is like them."""
        self.add_known(spellings(secrets_of(things)))

    def add_known(self, secrets: Iterable[str]) -> None:
        """Add secrets, as they may be spelt."""
        self.known = tuple(dict.fromkeys(sorted({*self.known, *secrets}, key=len, reverse=True)))


@dataclass(slots=True, repr=False)
class Connection:
    """A store object of obstore, and what is known of it.

    Attributes
    ----------
    store : object
    secrets : Secrets
    location : str
        See `location_of`.
    made : float
        When, by `time.monotonic`.
    """

    store: Any
    secrets: Secrets
    location: str
    made: float = field(default_factory=time.monotonic)
    _single: Any = None

    @property
    def without_retries(self) -> Any:
        """The same store object, which repeats no request; the one that is given where it cannot be made."""
        if self._single is None:
            self._single = _without_retries(self.store)
        return self._single


def _environment() -> tuple[tuple[str, str], ...]:
    """All variables, by name; others may go meanwhile, of which `items` makes a KeyError."""
    found = ((name, os.environ.get(name)) for name in sorted(os.environ))
    return tuple((name, value) for name, value in found if value is not None)


def connected(where: Place, more: Mapping[str, Any]) -> Connection:
    """Make a store object of obstore, or take one that was made in the same way a short while ago.

    It is that of the whole bucket, so that all stores there share its connections.

    Parameters
    ----------
    where : Place
    more : mapping
        Further arguments.

    Raises
    ------
    EncodingError
        For options that are wrong.
    """
    secrets = Secrets(where.secrets)
    config = dict(where.config)
    if where.profile is not None:
        said, provider = credentials_of(where.profile)
        secrets.add(said)
        config = {**said, **config}
        if provider is not None:
            config["credential_provider"] = _noted(provider, secrets)
        if str(config.get("endpoint", "")).startswith("http://"):
            config["client_options"] = {"allow_http": True, **config["client_options"]}
    try:
        # of the environment, obstore decides what it goes by
        key = _frozen((where.kind, where.root, config, more)), _environment()
    except TypeError:  # of a function that gives credentials it cannot be told whether it is the same
        return _made(where, config, more, secrets)
    found = _kept.pop(key, None)
    if found is None or time.monotonic() - found.made > _KEPT_SECONDS:
        found = _made(where, config, more, secrets)
    found.secrets.add_known(secrets.known)
    _kept[key] = found
    for oldest in list(_kept)[:-_MOST_KEPT]:
        _kept.pop(oldest, None)
    return found


def _frozen(value: object) -> Hashable:
    """What is equal for equal options only. Raises `TypeError` for what is no plain data."""
    if isinstance(value, Mapping):
        return "a mapping", frozenset((name, _frozen(each)) for name, each in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    if value is None or isinstance(value, str | bytes | int | float | timedelta):
        return type(value), value
    raise TypeError(type(value))


def _made(where: Place, config: Mapping[str, Any], more: Mapping[str, Any], secrets: Secrets) -> Connection:
    _check_endpoint(where, config)
    make = getattr(import_module("obstore.store"), where.kind)
    try:
        return Connection(make(where.root, **config, **more), secrets, location_of(replace(where, prefix=""), config))
    except BaseException as exc:  # obstore has an error for each kind of wrong option, and panics of some
        if is_interrupt(exc):
            raise
        found = f"{type(exc).__name__}: {shown(exc, secrets.known)}"
    raise EncodingError(  # outside of the block: what may be secret is not its context
        "the URL, or its storage_options, cannot be used",
        path=where.name,
        found=found,
        mend="docs/remote.md lists the options; see what obstore says of them",
    )


def _without_retries(store: Any) -> Any:
    try:
        given, named = store.__getnewargs_ex__()
        return type(store)(*given, **{**named, "retry_config": {"max_retries": 0}})
    except Exception:  # one of memory, or what only works like one of obstore
        return store


def _check_endpoint(where: Place, config: Mapping[str, Any]) -> None:
    """Raise for what obstore panics of: an endpoint that is no URL."""
    said = {f"storage_options: {name}": config.get(name) for name in ("endpoint", "base_url")}
    if where.kind == "S3Store" and not said["storage_options: endpoint"]:
        said |= {name: os.environ.get(name) for name in _ENDPOINTS}
    for name, value in said.items():
        if value and not str(value).startswith(("http://", "https://")):
            raise EncodingError(
                f"the endpoint is no URL ({name})",
                path=where.name,
                expected="https://host, or http://host:port",
                mend="Write it with http:// or https://",
            )


def _noted(provider: Callable[[], Any], secrets: Secrets) -> Callable[[], Any]:
    def credentials() -> Any:
        found = provider()
        secrets.add(found)
        return found

    return credentials


def place_of_object(store: Any) -> Place:
    """Where a store object is that the user has made; its name tells it from all that are not equal to it."""
    path = re.sub(r"\"([^\"]*)\"", lambda found: f'"{without_secrets(found[1])}"', repr(store))
    said = {name: getattr(store, name, None) for name in ("config", "client_options", "url")}
    queries = [each for each in str(said["url"] or "").partition("?")[2].split("&") if each]
    secrets = spellings(secrets_of([said, {"secret": queries}, *map(str, said.values())]))
    config = dict(said["config"] or {})
    root = str(said["url"] or config.get("bucket") or config.get("container_name") or path)
    return Place(type(store).__name__, path, root, str(getattr(store, "prefix", None) or ""), config, None, secrets)


def location_of(where: Place, config: Mapping[str, Any]) -> str:
    """Where the objects of a place are, whoever asks for them; not to be shown.

    Parameters
    ----------
    where : Place
    config : mapping
        What obstore is told: by options or AWS's files; of what is missing, the environment may say something.
    """
    servers = []
    for argument, names in _SERVERS.get(where.kind, {}).items():
        said = [os.environ[name] for name in names if os.environ.get(name)]  # which of them counts, obstore decides
        servers.append(str(config.get(argument) or ",".join(said)))
    return f"{where.kind} {' '.join(servers)} {where.root.rstrip('/')}/{where.prefix}".rstrip("/") + "/"


def digest_of(store: Any) -> str:
    """What tells a store object from those that are not equal to it, in whatever process; it shows no secret."""
    if type(store).__name__ == "MemoryStore":
        return f"memory of {os.getpid()}: {id(store)}"
    parts: list[Any] = [type(store).__name__, str(getattr(store, "prefix", None)), str(getattr(store, "url", None))]
    for name in ("config", "client_options"):
        parts.append(sorted((str(each), repr(value)) for each, value in (getattr(store, name, None) or {}).items()))
    return sha256(repr(parts).encode()).hexdigest()
