"""What happens below the application: requests that are no HTTP are refused in Alpaca's shape, and nobody may hold a connection or a
request open for ever without saying anything."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web

from alphatrade_pipelines.venue.server.wire import respond

log = structlog.get_logger(__name__)
SILENT_SECONDS = 60.0  # a connection whose first request is not complete after so long is closed


class VenueProtocol(web.RequestHandler):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start waiting for the first request."""
        super().connection_made(transport)
        self._silence = asyncio.get_running_loop().call_later(SILENT_SECONDS, self._end_silence)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop waiting."""
        self._silence.cancel()
        super().connection_lost(exc)

    def _end_silence(self) -> None:
        if self._request_count == 0:
            self.force_close()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What could not even be read as a request (bad request line, header too long ...), or broke outside the application."""
        if request.writer.output_size > 0:
            raise ConnectionError("part of an answer has been sent already")
        log.info("no request could be read", status=status, why=repr(exc))
        response = respond({"code": status * 100_000 + 10_000, "message": HTTPStatus(status).phrase.lower()}, status)
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return VenueProtocol(self, loop=asyncio.get_running_loop(), **self._kwargs)


class VenueRunner(web.AppRunner):
    """An application served with :class:`VenueProtocol`."""

    async def _make_server(self) -> web.Server:
        made: Any = await super()._make_server()
        return _Server(made.request_handler, request_factory=made.request_factory, **made._kwargs)
