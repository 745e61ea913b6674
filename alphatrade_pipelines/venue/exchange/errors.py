"""Refusals, in Alpaca's own codes and words. ``docs/fills.md`` and the tests hold the catalogue against the wire."""

from __future__ import annotations

from decimal import Decimal


class VenueError(Exception):
    """The venue refuses a request: ``http_status``, Alpaca's numeric ``code`` (None where Alpaca sends none), ``message``, extra keys."""

    def __init__(self, http_status: int, code: int | None, message: str, extra: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.code = code
        self.message = message
        self.extra = extra or {}

    def body(self) -> dict[str, object]:
        """The JSON body Alpaca would send."""
        code: dict[str, object] = {} if self.code is None else {"code": self.code}
        return {**code, "message": self.message, **self.extra}


def invalid(message: str, **extra: object) -> VenueError:
    """422/42210000: the order breaks a trading rule."""
    return VenueError(422, 42210000, message, extra)


def malformed(message: str) -> VenueError:
    """422/40010001: the request itself is wrong."""
    return VenueError(422, 40010001, message)


def forbidden(message: str, **extra: object) -> VenueError:
    """403/40310000: shared by insufficient funds, insufficient quantity and wash trades; classify on the body."""
    return VenueError(403, 40310000, message, extra)


def not_found(message: str) -> VenueError:
    """404/40410000: a definite no."""
    return VenueError(404, 40410000, message)


def duplicate_client_id(http_status: int = 422) -> VenueError:
    """40010001 under an HTTP status that fidelity may change."""
    return VenueError(http_status, 40010001, "client_order_id must be unique")


def insufficient_buying_power(buying_power: Decimal, cost_basis: Decimal) -> VenueError:
    return forbidden("insufficient buying power", buying_power=str(buying_power), cost_basis=str(cost_basis))


def insufficient_quantity(symbol: str, requested: Decimal, existing: Decimal, held: Decimal, related: list[str]) -> VenueError:
    available = existing - held
    return forbidden(
        f"insufficient qty available for order (requested: {requested}, available: {available})",
        available=str(available),
        existing_qty=str(existing),
        held_for_orders=str(held),
        related_orders=related,
        symbol=symbol,
    )


def wash_trade(existing_order_id: str, reason: str) -> VenueError:
    return forbidden("potential wash trade detected. use complex orders", existing_order_id=existing_order_id, reject_reason=reason)
