"""Refusals are told apart by their body: texts as Alpaca sends them (documentation and public captures)."""

from __future__ import annotations

import pytest

from alphatrade_pipelines.trading.rejections import Cure, Rejection, classify, cure

ALPACA = [
    (401, None, "unauthorized.", Rejection.ACCOUNT),
    (401, 40110000, "request is not authorized", Rejection.ACCOUNT),
    (403, None, "forbidden.", Rejection.ACCOUNT),
    (403, 40310000, "forbidden.", Rejection.ACCOUNT),
    (403, 40310000, "insufficient buying power", Rejection.BUYING_POWER),
    (403, 40310000, "insufficient qty available for order (requested: 16, available: 0)", Rejection.QUANTITY_HELD),
    (403, 40310000, "potential wash trade detected. use complex orders", Rejection.WASH_TRADE),
    (422, 42210000, "potential wash trade detected", Rejection.WASH_TRADE),
    (403, 40310000, "cannot open a long buy while a short sell order is open", Rejection.WASH_TRADE),
    (403, 40310000, "unable to open new notional orders while having open closing position orders", Rejection.QUANTITY_HELD),
    (403, 40310000, "account is not allowed to short", Rejection.NOT_TRADABLE),
    (403, 40310000, "new orders are rejected by user request", Rejection.ACCOUNT),
    (403, 40310000, "cost basis must be >= minimal amount of order 1", Rejection.OTHER),
    (404, 40410000, "order not found", Rejection.NOT_FOUND),
    (404, 40410000, "position does not exist", Rejection.NOT_FOUND),
    (422, 40010001, "client_order_id must be unique", Rejection.DUPLICATE_ID),
    (422, 40010001, "qty must be integer", Rejection.INVALID),
    (422, 42210000, "bracket orders must be entry orders", Rejection.INVALID),
    (422, 42210000, "invalid limit_price 290.123. sub-penny increment does not fulfill minimum pricing criteria", Rejection.PRICE),
    (422, 42210000, "take_profit.limit_price must be >= base_price + 0.01", Rejection.PRICE),
    (422, 42210000, "stop_loss.stop_price must be <= base_price - 0.01", Rejection.PRICE),
    (422, 42210000, "asset ZZZZ is not tradable", Rejection.NOT_TRADABLE),
    (422, 42210000, 'asset "STKH" cannot be sold short', Rejection.NOT_TRADABLE),
    (429, 42910000, "rate limit exceeded", Rejection.RATE_LIMITED),
    (429, None, "too many requests", Rejection.RATE_LIMITED),
    (None, None, "", Rejection.OTHER),
    (418, 123, "something never seen", Rejection.OTHER),
]


@pytest.mark.parametrize(("status", "code", "reason", "expected"), ALPACA)
def test_the_body_decides(status: int | None, code: int | None, reason: str, expected: Rejection) -> None:
    assert classify(status, code, reason) is expected
    assert classify(status, code, reason.upper()) is expected


def test_every_cause_has_a_bounded_cure() -> None:
    assert {rejection for rejection in Rejection if cure(rejection) is Cure.HALVE} == {Rejection.BUYING_POWER}
    assert cure(Rejection.ACCOUNT) is Cure.GIVE_UP
    assert cure(Rejection.RATE_LIMITED) is Cure.WAIT
