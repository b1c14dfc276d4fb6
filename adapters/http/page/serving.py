"""Serves the page from the package's own data, and says to browsers what no answer of this daemon may be used for."""

from __future__ import annotations

from http import HTTPStatus
from importlib import resources

from aiohttp import web
from aiohttp.http import SERVER_SOFTWARE

_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
INDEX = "index.html"

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    # Text of others never becomes markup: in browsers that know these, even a mistake of ours could not make it so.
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
SAFETY_HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def add_safety_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """For every answer: also JSON, opened in a browser, is nobody's script, frame or referrer."""
    for name, value in SAFETY_HEADERS.items():
        response.headers.setdefault(name, value)
    if response.headers.get("Server") == SERVER_SOFTWARE:
        response.headers["Server"] = "headgate"  # Versions are for those who look for known holes.


class Page:
    def __init__(self) -> None:
        self._files = {
            file.name: (file.read_bytes(), content_type)
            for file in resources.files(__package__).iterdir()
            if (content_type := _TYPES.get(file.name[file.name.rfind(".") :])) is not None
        }

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.lead),
            web.get("/ui", self.lead),
            web.get("/ui/", self.index),
            web.get("/ui/assets/{name}", self.asset),
        ]

    async def lead(self, _request: web.Request) -> web.Response:
        """To the page; by a relative way, because a proxy may serve the daemon under a path of its own."""
        return web.Response(status=HTTPStatus.FOUND, headers={"Location": "ui/", "Cache-Control": "no-store"})

    async def index(self, _request: web.Request) -> web.Response:
        return self._send(INDEX)

    async def asset(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._files or name == INDEX:
            raise web.HTTPNotFound
        return self._send(name)

    def _send(self, name: str) -> web.Response:
        content, content_type = self._files[name]
        # Not kept: after an upgrade, modules of two versions must not meet.
        return web.Response(
            body=content, content_type=content_type, charset="utf-8", headers={"Cache-Control": "no-store"}
        )
