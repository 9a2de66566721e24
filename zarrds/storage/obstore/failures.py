"""Errors of obstore as errors of zarrds, which say what to do and show no secret."""

from __future__ import annotations

import errno
import re

from zarrds.errors import InvalidKeyError, StoreIOError, ZarrdsError

__all__ = ["does_not_list", "failure", "scrubbed"]


def scrubbed(exc: BaseException, secrets: tuple[str, ...]) -> str:
    """What an error says, without what it must not show."""
    text = str(exc).partition("\n")[0]  # behind it, all is said again at length, or the page of a web server
    for secret in secrets:
        text = text.replace(secret, "…")
    return re.sub(r"(https?://[^\s?]*)\?[^\s]*", r"\1", text)


def failure(exc: BaseException, doing: str, secrets: tuple[str, ...]) -> ZarrdsError:
    """Our error for one of obstore's."""
    text, kind = scrubbed(exc, secrets), type(exc).__name__
    if kind == "InvalidPathError" or text.startswith("Could not parse path"):
        return InvalidKeyError("object storage has no such key", found=text, mend="Rename the variable or group")
    denied = kind in ("PermissionDeniedError", "UnauthenticatedError") or "status code: 403" in text
    problem, mend = "the server refuses", "Check the connection, the URL and the storage_options, and try again"
    if "ExpiredToken" in text or "token has expired" in text.lower():
        problem, mend, denied = "the credentials have expired", "Get new ones, and open the store again", True
    elif denied:
        problem = "permission denied"
        mend = "Check the credentials in storage_options, and what they allow; some servers say so of what is absent"
    elif "169.254.169.254" in text or "metadata.google.internal" in text:
        problem, mend, denied = "no credentials found", "Pass them in storage_options, or anon=True", True
    error = StoreIOError(f"cannot {doing}: {problem}", found=f"{kind}: {text}", mend=mend)
    if denied:
        error.errno = errno.EACCES
    return error


def does_not_list(name: str) -> StoreIOError:
    """The error of who must know what a web server has that shows no listings."""
    return StoreIOError(
        "cannot list: this server does not show what it has",
        key=name or None,
        mend="Consolidate the store's metadata where it can be written to, with zarrds.verify(store, repair=True), "
        "or open its arrays by name, with zarrds.open_array(url, path=...)",
    )
