"""Errors of obstore as errors of zarrds, which say what to do and show no secret."""

from __future__ import annotations

import errno
import html
import re
from collections.abc import Iterable

from zarrds.errors import InvalidKeyError, StoreIOError, ZarrdsError
from zarrds.storage.secrets import scrubbed

__all__ = [
    "failure",
    "is_interrupt",
    "is_unknown",
    "is_unreadable",
    "is_without_bucket",
    "is_without_reason",
    "says_absent",
    "shown",
    "without_conditions",
]

_MAX_MESSAGE = 200  # characters of what a server says
_PAGE = re.compile(r"\s*<(\?xml|!doctype|html|error)\b.*", re.IGNORECASE)
_SAID = {name: re.compile(rf"<{name}>(.*?)</{name}>", re.DOTALL) for name in ("Code", "Message")}
_EXPIRED = re.compile(r"ExpiredToken|TokenRefreshRequired|token (?:has (?:been )?|is )?expired", re.IGNORECASE)
_SKEWED = "RequestTimeTooSkewed"
_PASSING = re.compile(r"status code: (?:408|409|429|5(?!01)\d\d)")
_UNKNOWN = re.compile(r"status code: 501|\bNotImplemented\b")
_BAD = re.compile(r"status code: 400\b|\b400 Bad Request\b")
_GONE = re.compile(r"status code: 410\b")
# answers of web servers that other clients take: without a length, or with headers that obstore cannot parse
_UNREADABLE = re.compile(
    r"Header missing from response|Invalid last modified|Invalid content|containing non-ASCII data|Content-Encoding"
)
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")
# who gives credentials to what runs on a machine of theirs: asked last, when nothing else was said
_MACHINES = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")


def shown(exc: BaseException, secrets: Iterable[str]) -> str:
    """What an error says, without what it must not show: its first line, and what the server said of the reason."""
    whole = scrubbed(str(exc), secrets)
    text = _PAGE.sub("", whole.partition("\n")[0])  # behind it, all is said again at length
    said = [html.unescape(found[1].strip())[:_MAX_MESSAGE] for each in _SAID.values() if (found := each.search(whole))]
    said = [each for each in dict.fromkeys(said) if each and each not in text]
    return f"{text.rstrip(' :')}: {': '.join(said)}" if said else text


def is_interrupt(exc: BaseException) -> bool:
    """Whether it is no failure but Ctrl-C or the like; when obstore panics, that is no `Exception` either."""
    return not isinstance(exc, Exception) and type(exc).__name__ != "PanicException"


def is_without_bucket(exc: BaseException) -> bool:
    """Whether a failure is that there is no such bucket."""
    return any(sign in str(exc) for sign in _NO_BUCKET)


def says_absent(exc: BaseException, *, is_web: bool) -> bool:
    """Whether a failure is that there is no such object; web servers also say that it is gone."""
    if isinstance(exc, FileNotFoundError):
        return not is_without_bucket(exc)
    return is_web and bool(_GONE.search(str(exc)))


def is_unreadable(exc: BaseException) -> bool:
    """Whether it was the answer of a web server that obstore could not take, and not the server that refused."""
    return bool(_UNREADABLE.search(str(exc)))


def failure(exc: BaseException, doing: str, secrets: Iterable[str], *, bucket: str | None = None) -> ZarrdsError:
    """Our error for one of obstore's, of a bucket; its `errno` is EACCES or EAGAIN where that is the reason.

    It is to be raised outside of the `except` block: else obstore's, with all that it shows, would be its context.
    """
    if is_without_bucket(exc):
        mend = "Check the URL, and the endpoint in storage_options; zarrds makes no buckets"
        return StoreIOError("there is no such bucket", found=bucket, mend=mend)
    whole, text, kind = str(exc), shown(exc, secrets), type(exc).__name__
    if kind == "InvalidPathError" or whole.startswith("Could not parse path"):
        return InvalidKeyError("object storage has no such key", found=text, mend="Rename the variable or group")
    denied = kind in ("PermissionDeniedError", "UnauthenticatedError") or "status code: 403" in whole
    problem, mend = "the server refuses", "Check the connection, the URL and the storage_options, and try again"
    if any(machine in whole for machine in _MACHINES):
        problem, mend, denied = "no credentials found", "Pass them in storage_options, or anon=True", True
    elif _EXPIRED.search(whole):
        problem, mend, denied = "the credentials have expired", "Get new ones, and open the store again", True
    elif _SKEWED in whole:
        problem, mend, denied = "the clock of this machine is wrong", "Set it: signed requests carry the time", True
    elif denied:
        problem = "permission denied"
        mend = "Check the credentials in storage_options, and what they allow; some servers say so of what is absent"
    error = StoreIOError(f"cannot {doing}: {problem}", found=f"{kind}: {text}", mend=mend)
    if denied:
        error.errno = errno.EACCES
    elif _PASSING.search(whole) or (kind == "GenericError" and "status code" not in whole):
        error.errno = errno.EAGAIN
    return error


def is_unknown(exc: BaseException) -> bool:
    """Whether a failure is that the server knows nothing of what it was asked for."""
    return bool(_UNKNOWN.search(str(exc)))


def is_without_reason(exc: BaseException) -> bool:
    """Whether a server said that a request was bad, as S3 does of expired credentials too."""
    return bool(_BAD.search(str(exc)))


def without_conditions(found: str) -> StoreIOError:
    """The error of a writer whose server puts nothing by conditions, and does not ignore them either."""
    error = StoreIOError(
        "cannot write: the server puts nothing by conditions, which keep writers from each other",
        expected="If-None-Match and If-Match, with ETags that are not weak",
        found=found,
        mend="Pass the store as an fsspec mapper (fsspec.get_mapper), and let one machine at a time write to it; of a "
        "proxy that makes ETags weak, as by compressing, go past it",
    )
    error.errno = errno.ENOTSUP
    return error
