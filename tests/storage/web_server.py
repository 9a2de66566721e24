"""A web server of files on this machine, for tests of stores that are only read."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files whole; it knows no ranges, as the simplest of servers."""

    forbidden: tuple[str, ...] = ()

    def send_head(self):
        if any(name in self.path for name in self.forbidden):
            self.send_error(403)
            return None
        return super().send_head()

    def log_message(self, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True  # clients keep connections open that they may never use


@contextmanager
def web(handler: type[Handler], folder: Path) -> Iterator[str]:
    """The URL of a folder, as long as the body lasts."""
    with Server(("127.0.0.1", 0), functools.partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
