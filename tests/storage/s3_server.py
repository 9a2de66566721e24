"""A small server that speaks as much of S3 as stores need: it counts and delays requests, and fails when it is told to.

It speaks Google's dialect of it as well: there, objects have generations, which conditions go by.

It keeps all in memory, and costs less processor time than its clients: ``python -m tests.storage.s3_server 30`` serves
with 30 ms of latency, and prints its port.
"""

from __future__ import annotations

import hashlib
import socket
import sys
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape, unescape

__all__ = ["Fault", "S3Server", "serving"]

BUCKET = "bucket"
_PAGE = 1000  # keys of one answer


@dataclass(frozen=True)
class Fault:
    """What becomes of a request: an answer with that `status`, or none; after it was done, if `is_done`."""

    status: int | None = None
    is_done: bool = False
    body: bytes = b""


@dataclass
class State:
    """What the server has, and what it was asked.

    Attributes
    ----------
    values : dict
        Value, ETag and time by key.
    requests : list of (method, key)
        A listing's key is its prefix with a question mark.
    latency : float
        Seconds that each request takes.
    fault : callable, optional
        From method and key to what is to go wrong.
    n_sent : int
        Bytes of answers.
    connections : list of socket
        All that were ever made.
    seen : callable, optional
        Called with method and key after each request that changed something.
    before : callable, optional
        Called with method, key and who asks (the access key) before each request, by its own thread, which may wait.
    """

    values: dict[str, tuple[bytes, str, float]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    latency: float = 0.0
    fault: Callable[[str, str], Fault | None] | None = None
    seen: Callable[[str, str], None] | None = None
    before: Callable[[str, str, str], None] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    at_once: int = 0
    most_at_once: int = 0
    n_sent: int = 0
    connections: list[socket.socket] = field(default_factory=list)

    def counts(self) -> Counter[str]:
        return Counter(method for method, _ in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self.state.connections.append(self.connection)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *args: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, ValueError):
            self.close_connection = True

    def handle_expect_100(self) -> bool:
        found = super().handle_expect_100()
        self.wfile.flush()  # who asks (s3fs) waits for it
        return found

    def _any(self) -> None:
        state = self.state
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        bucket, _, key = urllib.parse.unquote(parts.path).lstrip("/").partition("/")
        body = self._body()
        is_list = "list-type" in query or (self.command == "GET" and not key)
        name = f"?{query.get('prefix', '')}" if is_list else "?delete" if "delete" in query else key
        method = "COPY" if self._copied() else "LIST" if is_list else self.command
        if state.before is not None:
            state.before(method, name, (self.headers.get("Authorization") or "").partition("Credential=")[2][:9])
        with state.lock:
            state.requests.append((method, name))
            state.at_once += 1
            state.most_at_once = max(state.most_at_once, state.at_once)
            fault = state.fault(method, name) if state.fault else None
        try:
            if state.latency:
                time.sleep(state.latency)
            if bucket != BUCKET:
                self._error(404, "NoSuchBucket")
                return
            if fault is not None and not fault.is_done:
                self._fail(fault)
                return
            act = {"LIST": self._list, "GET": self._get, "HEAD": self._get, "PUT": self._put, "COPY": self._copy}
            act |= {"DELETE": self._delete, "POST": self._post}
            answer = act[method](key, query, body)
            if state.seen is not None and method in ("PUT", "COPY", "DELETE", "POST"):
                state.seen(method, name)
            if fault is not None:
                self._fail(fault)
            else:
                answer()
        finally:
            with state.lock:
                state.at_once -= 1

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _any  # noqa: N815  # names of http.server

    def _copied(self) -> str | None:
        return self.headers.get("x-amz-copy-source") or self.headers.get("x-goog-copy-source")

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" not in (self.headers.get("Content-Encoding") or ""):
            return body
        whole = b""
        while body:
            line, _, rest = body.partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            if not size:
                break
            whole, body = whole + rest[:size], rest[size + 2 :]
        return whole

    def _fail(self, fault: Fault) -> None:
        if fault.status is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._send(fault.status, fault.body, "application/xml")

    def _error(self, status: int, code: str) -> None:
        self._send(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode(), "application/xml")

    def _send(self, status: int, body: bytes = b"", kind: str = "binary/octet-stream", **headers: str) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", headers.get("size", str(len(body))))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            with self.state.lock:
                self.state.n_sent += len(body)
        self.wfile.flush()

    def _get(self, key: str, query: dict[str, str], body: bytes) -> Callable[[], None]:
        found = self.state.values.get(key)
        if found is None:
            return lambda: self._error(404, "NoSuchKey")
        value, etag, written = found
        if self.headers.get("If-Match") not in (None, etag):
            return lambda: self._error(412, "PreconditionFailed")
        if self.headers.get("If-None-Match") == etag:
            return lambda: self._send(304, ETag=etag)
        about = {"ETag": etag, "Last_Modified": formatdate(written, usegmt=True), "Accept_Ranges": "bytes"}
        about["x_goog_generation"] = _generation(found)
        span = self.headers.get("Range")
        if span is None:
            return lambda: self._whole(value, about)
        first, last = span.removeprefix("bytes=").split("-")
        start = int(first) if first else max(len(value) - int(last), 0)
        stop = min(int(last) + 1, len(value)) if first and last else len(value)
        if start >= len(value) or (not first and not int(last)):
            return lambda: self._error(416, "InvalidRange")
        about["Content_Range"] = f"bytes {start}-{stop - 1}/{len(value)}"
        return lambda: self._send(206, value[start:stop], **about)

    def _whole(self, value: bytes, about: dict[str, str]) -> None:
        self._send(200, value, **about)

    def _put(self, key: str, query: dict[str, str], body: bytes) -> Callable[[], None]:
        with self.state.lock:
            before = self.state.values.get(key)
            wanted, unwanted = self.headers.get("If-Match"), self.headers.get("If-None-Match")
            if wanted is not None and before is None:
                return lambda: self._error(404, "NoSuchKey")
            if (wanted is not None and before is not None and wanted != before[1]) or (unwanted == "*" and before):
                return lambda: self._error(412, "PreconditionFailed")
            if self.headers.get("x-goog-if-generation-match") not in (None, _generation(before)):
                return lambda: self._error(412, "PreconditionFailed")
            etag = f'"{hashlib.md5(body).hexdigest()}"'
            self.state.values[key] = made = body, etag, time.time()
        return lambda: self._send(200, ETag=etag, x_goog_generation=_generation(made))

    def _copy(self, key: str, query: dict[str, str], body: bytes) -> Callable[[], None]:
        source = urllib.parse.unquote(self._copied() or "").lstrip("/").partition("/")[2]
        with self.state.lock:
            found = self.state.values.get(source)
            if found is None:
                return lambda: self._error(404, "NoSuchKey")
            self.state.values[key] = found[0], found[1], time.time()
        answer = f"<CopyObjectResult><ETag>{escape(found[1])}</ETag></CopyObjectResult>".encode()
        return lambda: self._send(200, answer, "application/xml")

    def _delete(self, key: str, query: dict[str, str], body: bytes) -> Callable[[], None]:
        found = self.state.values.pop(key, None)
        if found is None and not self.headers.get("x-amz-date"):
            return lambda: self._error(404, "NoSuchKey")  # as Google does
        return lambda: self._send(204)

    def _post(self, key: str, query: dict[str, str], body: bytes) -> Callable[[], None]:
        names = [part.partition("</Key>")[0] for part in body.decode().split("<Key>")[1:]]
        for name in names:
            self.state.values.pop(unescape(name, {"&quot;": '"', "&apos;": "'"}), None)
        deleted = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in names)
        return lambda: self._send(200, f"<DeleteResult>{deleted}</DeleteResult>".encode(), "application/xml")

    def _list(self, key: str, query: dict[str, str], body: bytes) -> Callable[[], None]:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token") or query.get("start-after") or ""
        with self.state.lock:
            items = sorted((k, v) for k, v in self.state.values.items() if k.startswith(prefix) and k > after)
        keys, folders, last = [], set[str](), ""
        for name, (value, etag, written) in items:
            if len(keys) + len(folders) >= _PAGE:
                break
            head, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            last = name
            if found:
                folders.add(prefix + head + delimiter)
                continue
            when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(written))
            keys.append(
                f"<Contents><Key>{escape(name)}</Key><LastModified>{when}</LastModified>"
                f"<ETag>{escape(etag)}</ETag><Size>{len(value)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            )
        is_cut = bool(items) and last != items[-1][0]
        token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if is_cut else ""
        shown = "".join(f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in sorted(folders))
        text = (
            f"<ListBucketResult><Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix>{token}"
            f"<KeyCount>{len(keys) + len(folders)}</KeyCount><MaxKeys>{_PAGE}</MaxKeys>"
            f"<IsTruncated>{str(is_cut).lower()}</IsTruncated>{''.join(keys)}{shown}</ListBucketResult>"
        )
        return lambda: self._send(200, text.encode(), "application/xml")


def _generation(found: tuple[bytes, str, float] | None) -> str:
    return "0" if found is None else str(1 + int(found[2] * 1e6))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class S3Server:
    """A server at ``url``, in threads of this process, with the bucket ``bucket``."""

    def __init__(self, latency: float = 0.0, port: int = 0) -> None:
        self.state = State(latency=latency)
        self._server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"state": self.state}))
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def options(self) -> dict[str, object]:
        """As `storage_options`."""
        return {"endpoint_url": self.url, "key": "AKIATEST", "secret": "verysecretvalue"}

    def clear(self) -> None:
        """Forget all values and requests, and whatever is to go wrong."""
        self.state.values.clear()
        self.state.requests.clear()
        self.state.fault = self.state.seen = self.state.before = None

    def drop_connections(self) -> None:
        """Close all connections, as a server does with those that nobody uses."""
        connections, self.state.connections = self.state.connections, []
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        self._server.serve_forever(0.01)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(latency: float = 0.0) -> Iterator[S3Server]:
    """A server as long as the body lasts."""
    server = S3Server(latency)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


if __name__ == "__main__":
    running = S3Server(float(sys.argv[1]) / 1000 if len(sys.argv) > 1 else 0.0)
    print(running.port, flush=True)
    running.serve()
