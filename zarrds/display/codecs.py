"""Codecs in a few words, whatever library's objects they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["codec_texts", "encoding_texts"]

# what of a codec's settings is worth reading
_SHOWN = ("cname", "clevel", "shuffle", "level", "scale", "offset", "digits", "order")
_SHUFFLES = {-1: "autoshuffle", 0: "noshuffle", 1: "shuffle", 2: "bitshuffle"}
_UNSAID = frozenset({"bytes", "vlen-utf8", "vlen-bytes"})


def codec_texts(codecs: Iterable[Any]) -> tuple[str, ...]:
    """Each codec with its main settings; what only turns numbers into bytes goes without saying.

    Examples
    --------
    >>> codec_texts([{"name": "bytes"}, {"name": "blosc", "configuration": {"cname": "lz4", "clevel": 5}}])
    ('blosc(lz4 5)',)
    >>> codec_texts([{"id": "blosc", "cname": "zstd", "clevel": 7, "shuffle": 2}])
    ('blosc(zstd 7 bitshuffle)',)
    """
    texts = (_text(codec) for codec in codecs)
    return tuple(text for text in texts if text not in _UNSAID)


def encoding_texts(encoding: Mapping[str, Any]) -> tuple[str, ...]:
    """The codecs in a variable's encoding, of Zarr or of netCDF.

    Examples
    --------
    >>> encoding_texts({"zlib": True, "complevel": 4, "shuffle": True, "fletcher32": False})
    ('zlib(4)', 'shuffle')
    """
    found: list[str] = []
    for name in ("filters", "compressors"):
        each = encoding.get(name)
        found += codec_texts([] if each is None else each if isinstance(each, list | tuple) else [each])
    for name in ("zlib", "zstd", "bzip2", "szip", "blosc", "shuffle", "fletcher32"):
        if encoding.get(name):
            level = encoding.get("complevel") if name in ("zlib", "zstd", "bzip2") else None
            found.append(name if level is None else f"{name}({level})")
    return tuple(found)


def _text(codec: Any) -> str:
    described = codec if isinstance(codec, Mapping) else _described(codec)
    name = str(described.get("name", described.get("id", type(codec).__name__)))
    settings = described.get("configuration", described)
    if name == "sharding_indexed" and isinstance(settings, Mapping):
        inner = settings.get("codecs")
        return " ".join(codec_texts(inner if isinstance(inner, list | tuple) else ())) or "bytes"
    shown = [_setting(key, settings) for key in _SHOWN if isinstance(settings, Mapping) and key in settings]
    return f"{name}({' '.join(shown)})" if shown else name


def _setting(key: str, settings: Mapping[str, Any]) -> str:
    value = settings[key]
    if key == "shuffle" and "cname" in settings and isinstance(value, int):  # numcodecs' Blosc, and Zarr v2
        return _SHUFFLES.get(value, str(value))
    return str(value)


def _described(codec: Any) -> Mapping[str, Any]:
    for method in ("to_dict", "get_config"):
        if hasattr(codec, method):
            described = getattr(codec, method)()
            if isinstance(described, Mapping):
                return described
    return {"name": type(codec).__name__}
