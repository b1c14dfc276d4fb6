"""A small web server on the loopback, for addresses that deploy files name."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Page:
    body: bytes = b""
    status: int = 200
    kind: str = "text/plain"
    location: str = ""
    promised: int | None = None
    """The length that is told, where it is not the real one."""


@dataclass
class Web:
    """`pages` by their path; whatever is asked for is noted."""

    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = ""
    silent: threading.Event = field(default_factory=threading.Event)
    """What is asked for below /silent/ is not answered before this is set."""


@contextmanager
def serving(*, tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.asked.append(self.path)
            if self.path.startswith("/silent/"):
                web.silent.wait(20)
            page = web.pages.get(self.path.partition("?")[0], Page(status=404))
            self.send_response(page.status)
            if page.location:
                self.send_header("Location", page.location)
            self.send_header("Content-Type", page.kind)
            self.send_header("Content-Length", str(len(page.body) if page.promised is None else page.promised))
            self.end_headers()
            self.wfile.write(page.body)

        def log_message(self, format: str, *args: object) -> None: ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that hang up are part of the stories."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    web.address = f"{'https' if tls is not None else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        web.silent.set()
        server.shutdown()
        server.server_close()
        thread.join()
