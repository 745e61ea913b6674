"""Clients that mean harm or are broken: an Alpaca-shaped error or a clean close, never a traceback on the wire, never a wrong ledger.

Everything here talks to a real port; what the exchange holds is compared before and after.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator

import aiohttp
import pytest
from hostile_world import HEADER, Target, adds_up, served, shaped, split, unmoved
from served_world import KEYS

from alphatrade_pipelines.venue.server import protocol
from alphatrade_pipelines.venue.server import requests as wire_requests

GOOD = {"symbol": "BBB", "side": "buy", "qty": "1", "type": "limit", "limit_price": "90", "time_in_force": "day"}


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with unmoved() as one:
        yield one


class TestBodies:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"{}",
            b"[]",
            b"null",
            b"5",
            b'"order"',
            b"\xff\xfe\x00",
            b"\x00" * 100,
            b"{'symbol': 'AAA'}",
            b'{"symbol":"AAA"} trailing',
            b'{"symbol":"AAA","symbol":5}',
            b'{"qty":Infinity}',
            b'{"qty":1e400}',
            b'{"qty":' + b"9" * 5000 + b"}",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b'{"take_profit":' * 300 + b"1" + b"}" * 300,
            b"x" * (2 << 20),
        ],
        ids=lambda body: repr(body[:16]),
    )
    async def test_what_is_no_order_is_refused(self, target: Target, body: bytes) -> None:
        for method, path in (("POST", "/v2/orders"), ("PATCH", f"/v2/orders/{next(iter(target.exchange.book.orders))}")):
            async with aiohttp.request(method, target.url + path, data=body, headers=KEYS) as answer:
                shaped(answer.status, await answer.text())

    @pytest.mark.parametrize(
        "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/html; charset=nonsense", "\xe9"]
    )
    async def test_the_content_type_changes_nothing(self, target: Target, kind: str) -> None:
        async with aiohttp.request("POST", f"{target.url}/v2/orders", data=b"symbol=AAA", headers={**KEYS, "Content-Type": kind}) as answer:
            shaped(answer.status, await answer.text())

    @pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "nonsense"])
    async def test_a_body_that_does_not_unpack(self, target: Target, coding: str) -> None:
        body = b"not packed at all"
        request = (
            b"POST /v2/orders HTTP/1.1\r\nHost: x\r\n"
            + HEADER
            + f"Content-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        answer = await target.raw(request + body)
        if answer:
            shaped(*split(answer))


class TestRequests:
    @pytest.mark.parametrize(
        "path",
        [
            "/v3/orders",
            "/v2",
            "/v2/orders/a/b/c",
            "//",
            "/admin2",
            "/page",
            "/v2/%00",
            "/../etc/passwd",
            "/v2/orders/%ff",
            "/" + "a" * 4000,
        ],
    )
    async def test_unknown_paths(self, target: Target, path: str) -> None:
        answer = await target.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\n".encode() + HEADER + b"\r\n")
        shaped(*split(answer))

    @pytest.mark.parametrize("method", ["PUT", "TRACE", "OPTIONS", "CONNECT", "BREW", "POST"])
    async def test_unknown_methods(self, target: Target, method: str) -> None:
        answer = await target.raw(f"{method} /v2/clock HTTP/1.1\r\nHost: x\r\n".encode() + HEADER + b"\r\n")
        shaped(*split(answer))

    @pytest.mark.parametrize(
        "request_bytes",
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,  # a TLS handshake
            b"hello\r\n\r\n",
            b"GET /v2/clock\r\n\r\n",
            b"GET /v2/clock HTTP/9.9\r\n\r\n",
            b"GET /v2/clock HTTP/1.1\r\nbroken header\r\n\r\n",
            b"GET /v2/clock HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
            b"GET /v2/clock HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST /v2/orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
            b"GET /v2/clock HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 100_000 + b"\r\n\r\n",
            b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /v2/clock HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n",
            b"GET /v2/clock HTTP/1.1\r\nHost: x\r\nX-\x00: y\r\n\r\n",
        ],
        ids=lambda sent: repr(sent[:30]),
    )
    async def test_what_is_no_http_is_refused_in_shape(self, target: Target, request_bytes: bytes) -> None:
        shaped(*split(await target.raw(request_bytes)))

    async def test_header_values_that_are_no_keys(self, target: Target) -> None:
        for value in (b"\xff\xfe", b"\xe2\x98\x83", b"a" * 5000, b"sim "):
            request = b"GET /v2/account HTTP/1.1\r\nHost: x\r\nAPCA-API-KEY-ID: " + value + b"\r\nAPCA-API-SECRET-KEY: x\r\n\r\n"
            assert split(await target.raw(request))[0] in (401, 403)
            admin = b"GET /admin/state HTTP/1.1\r\nHost: x\r\nX-Admin-Token: " + value + b"\r\n\r\n"
            assert split(await target.raw(admin))[0] == 401


class TestCut:
    """Requests that end in the middle never reach the exchange."""

    async def test_a_body_that_ends_early(self, target: Target) -> None:
        body = json.dumps(GOOD).encode()
        for sent in range(0, len(body), 20):
            _, writer = await asyncio.open_connection("127.0.0.1", target.port)
            writer.write(
                b"POST /v2/orders HTTP/1.1\r\nHost: x\r\n" + HEADER + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:sent]
            )
            await writer.drain()
            await asyncio.sleep(0.005)
            writer.transport.abort()
        await asyncio.sleep(0.05)

    async def test_a_request_that_ends_in_its_head(self, target: Target) -> None:
        head = b"POST /v2/orders HTTP/1.1\r\nHost: x\r\n" + HEADER + b"Content-Length: 2\r\n\r\n"
        for sent in range(0, len(head), 15):
            _, writer = await asyncio.open_connection("127.0.0.1", target.port)
            writer.write(head[:sent])
            await writer.drain()
            writer.close()

    async def test_a_reset_right_after_a_whole_order_loses_the_answer_only(self) -> None:
        """What was received whole was received: the order counts, whoever is left to hear of it."""
        body = json.dumps(GOOD).encode()
        async with served() as target:
            with socket.create_connection(("127.0.0.1", target.port)) as raw:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raw.sendall(b"POST /v2/orders HTTP/1.1\r\nHost: x\r\n" + HEADER + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await asyncio.sleep(0.1)
            assert len(target.exchange.ledger.receipts) in (2, 3)
            assert adds_up(target.exchange)
            await target.healthy()

    async def test_who_says_nothing_is_closed(self, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(protocol, "SILENT_SECONDS", 0.2)
        assert await target.raw() == b""
        assert await target.raw(b"GET /v2/clock HT") == b""

    async def test_a_drop_at_a_time_does_not_keep_a_connection(self, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(protocol, "SILENT_SECONDS", 0.3)
        assert await target.raw(*[b"x"] * 10_000) == b""

    async def test_a_body_that_never_comes_is_refused(self, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wire_requests, "BODY_SECONDS", 0.2)
        head = b"POST /v2/orders HTTP/1.1\r\nHost: x\r\n" + HEADER + b"Content-Length: 50\r\n\r\n{"
        status, body = split(await target.raw(head))
        assert status == 408
        shaped(status, body)

    async def test_half_closed_connections_are_answered_or_closed(self, target: Target) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
        writer.write(b"GET /v2/clock HTTP/1.1\r\nHost: x\r\n" + HEADER + b"\r\n")
        writer.write_eof()
        async with asyncio.timeout(5):
            answer = await reader.read()
        assert answer == b"" or split(answer)[0] == 200
        writer.close()


@pytest.mark.usefixtures("many_files")
async def test_a_thousand_idle_connections_are_served_around(target: Target) -> None:
    idle = [await asyncio.open_connection("127.0.0.1", target.port) for _ in range(500)]
    for _ in range(500):
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
        writer.write(b"GET /v2/clock HTTP/1.1\r\nHost: x\r\n" + HEADER + b"\r\n")
        idle.append((reader, writer))
    for reader, _ in idle[500:]:
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    await target.healthy()
    for _, writer in idle:
        writer.close()
