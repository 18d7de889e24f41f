"""The dashboard's server: the page, its events, JSON, metrics. It answers GET and nothing else."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bulkmig.monitor import metrics, page
from bulkmig.monitor.feed import Feed
from bulkmig.monitor.loopback import is_loopback

EVERY = 1.0  # seconds between two events
COOKIE = "bulkmig"
_HEADERS = {
    "Content-Security-Policy": page.POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def build(feed: Feed, *, token: str, closing: anyio.Event) -> Starlette:
    """The application. `token`: what who looks must know; without it only this machine is answered, under
    its own name. `closing`: streams tell the last and end."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await feed.close()

    async def state(request: Request) -> Response:
        return _json(await feed.now())

    async def runs(request: Request) -> Response:
        return _json({"runs": (await feed.now())["ledger"]["runs"]})

    async def one_run(request: Request) -> Response:
        found = await feed.run(request.path_params["run"])
        if found is not None:
            return _json(found)
        return _json({"error": feed.error}, 503) if feed.error else _json({"error": "no such run"}, 404)

    async def events(request: Request) -> Response:
        return StreamingResponse(_events(feed, closing), media_type="text/event-stream")

    async def figures(request: Request) -> Response:
        return Response(metrics.exposition(await feed.now()), media_type="text/plain; version=0.0.4")

    async def health(request: Request) -> Response:
        well = await feed.is_well()
        return PlainTextResponse("ok\n" if well else "the ledger can't be read\n", 200 if well else 503)

    routes = [
        *(Route(f"/{'' if name == 'index.html' else name}", _file(name)) for name in page.TYPES),
        Route("/api/state", state),
        Route("/api/runs", runs),
        Route("/api/runs/{run:str}", one_run),
        Route("/events", events),
        Route("/metrics", figures),
        Route("/healthz", health),
    ]
    return Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(_Door, token=token)])


def changes(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What of the state is new since a client got it: of vessels only those that changed."""
    known = {vessel["id"]: vessel for vessel in before["vessels"]}
    new = {key: value for key, value in now.items() if key != "vessels" and before.get(key) != value}
    return {**new, "vessels": [v for v in now["vessels"] if known.get(v["id"]) != v]}


async def _events(feed: Feed, closing: anyio.Event) -> AsyncIterator[bytes]:
    """Everything at first, so that a client that comes back needs nothing from before; then what changes."""
    sent = await feed.now()
    yield _event("state", sent)
    while not closing.is_set():
        with anyio.move_on_after(EVERY):
            await closing.wait()
        now = await feed.now()
        same = _run_id(now) == _run_id(sent) and len(now["vessels"]) >= len(sent["vessels"])
        yield _event("change", changes(sent, now)) if same else _event("state", now)
        sent = now


def _run_id(state: dict[str, Any]) -> tuple[str | None, bool]:
    return (state["run"] or {}).get("id"), state["live"]


def _event(kind: str, value: dict[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(value) + b"\n\n"


def _json(value: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def _file(name: str) -> Handler:
    content = page.asset(name)

    async def send(request: Request) -> Response:
        return Response(content, media_type=page.TYPES[name])

    return send


class _Door:
    """Lets in who may look, and adds the headers that every answer has.

    A web page elsewhere could make its own name lead to this machine; so without a token the name in the
    request must be this machine's."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
            await send(message)

        request = Request(scope)
        answer = self._refusal(request)
        await (answer or self.app)(scope, receive, with_headers)

    def _refusal(self, request: Request) -> Response | None:
        path = request.scope["path"]  # not `request.url`, in which whoever asks has written the host
        if path == "/healthz":
            return None
        if not self.token:
            host = request.headers.get("host", "").lower()
            name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
            return None if is_loopback(name) else PlainTextResponse("not this machine's name\n", 403)
        given = request.query_params.get("token")
        if given is not None and path == "/" and self._is_right(given):
            answer = RedirectResponse("/")  # so that the token stays out of histories and screenshots
            answer.set_cookie(COOKIE, given, httponly=True, samesite="strict")
            return answer
        kind, _, bearer = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._is_right(bearer):
            return None
        if self._is_right(request.cookies.get(COOKIE, "")):
            return None
        return PlainTextResponse("a token is needed: /?token=… or Authorization: Bearer …\n", 401)

    def _is_right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())
