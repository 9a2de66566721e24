"""What AWS says elsewhere than in options: its files of profiles, and the region of a bucket."""

from __future__ import annotations

import configparser
import os
from collections.abc import Callable
from typing import Any

from zarrds.errors import EncodingError

__all__ = ["AWS_NAMES", "credentials_of", "region_of"]

# as botocore's clients and AWS's files both call them
AWS_NAMES = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "endpoint_url": "endpoint",
}


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
    config = {to: said[name] for name, to in (AWS_NAMES | {"region": "region"}).items() if name in said}
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


def region_of(bucket: str) -> str | None:
    """The region of a bucket, which AWS tells everybody."""
    import urllib.error  # which few need
    import urllib.request

    request = urllib.request.Request(f"https://s3.amazonaws.com/{bucket}", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.headers.get("x-amz-bucket-region") or "") or None
    except urllib.error.HTTPError as exc:
        return exc.headers.get("x-amz-bucket-region")
    except OSError:
        return None
