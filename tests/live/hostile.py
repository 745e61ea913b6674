"""A broker that misbehaves on demand, on a real socket: each request is answered by the next scripted reply."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Reply:
    """``status`` 0 drops the connection after the request was read; ``delay`` seconds before anything."""

    status: int
    body: Any = None
    delay: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Seen:
    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    headers: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass
class HostileBroker:
    """Replies come from ``script`` (first in, first out); an empty script asks ``fallback``."""

    script: deque[Reply] = field(default_factory=deque)
    fallback: Callable[[Seen], Reply] | None = None
    seen: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        broker = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                parts = urlsplit(self.path)
                body = json.loads(self.rfile.read(length)) if length else None
                request = Seen(self.command, parts.path, parse_qs(parts.query), body, dict(self.headers))
                broker.seen.append(request)
                reply = broker.script.popleft() if broker.script else broker._fall_back(request)
                time.sleep(reply.delay)
                if reply.status == 0:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    self.connection.close()
                    return
                content = reply.body if isinstance(reply.body, bytes) else b"" if reply.body is None else json.dumps(reply.body).encode()
                self.send_response_only(reply.status)
                self.send_header("Content-Length", str(len(content)))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = do_PATCH = _answer  # noqa: N815

            def log_message(self, *_args: object) -> None:
                return

            def finish(self) -> None:
                if not self.wfile.closed:
                    try:
                        super().finish()
                    except OSError:
                        self.wfile.close()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _fall_back(self, request: Seen) -> Reply:
        assert self.fallback is not None, f"unexpected request {request}"
        return self.fallback(request)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def order_json(client_order_id: str, **changes: Any) -> dict[str, Any]:
    """An order as Alpaca writes it (shape of a captured paper order)."""
    return {
        "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
        "client_order_id": client_order_id,
        "created_at": "2026-07-24T14:42:49.337646391Z",
        "updated_at": "2026-07-24T14:42:50.130680372Z",
        "submitted_at": "2026-07-24T14:42:49.356957709Z",
        "filled_at": None,
        "replaced_by": None,
        "replaces": None,
        "symbol": "SPY",
        "asset_class": "us_equity",
        "notional": None,
        "qty": "10",
        "filled_qty": "0",
        "filled_avg_price": None,
        "order_class": "",
        "order_type": "market",
        "type": "market",
        "side": "buy",
        "time_in_force": "gtc",
        "limit_price": None,
        "stop_price": None,
        "status": "new",
        "extended_hours": False,
        "legs": None,
        **changes,
    }
