"""Events survive the journal exactly; anything else is refused with a clear word."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphatrade_pipelines.risk import SizingConfig
from alphatrade_pipelines.trading import CodecError, CoreConfig, decode_event, encode_event
from alphatrade_pipelines.trading.codec import EVENT_TYPES
from alphatrade_pipelines.trading.domain import BrokerOrder
from alphatrade_pipelines.trading.events import ClockTicked, PriceSeen, SessionEnded

T0 = datetime(2013, 1, 2, 14, 30, 0, 123456, tzinfo=UTC)

st.register_type_strategy(datetime, st.datetimes(timezones=st.just(UTC)))
st.register_type_strategy(Decimal, st.decimals(allow_nan=False, allow_infinity=False))
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(BrokerOrder, st.builds(BrokerOrder, legs=st.just(())))


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_every_event_comes_back_equal(name: str, data: st.DataObject) -> None:
    event = data.draw(st.from_type(EVENT_TYPES[name]))
    text = encode_event(event)
    assert decode_event(text) == event
    assert encode_event(decode_event(text)) == text


def test_decimals_keep_their_digits_and_times_their_microseconds() -> None:
    event = decode_event(encode_event(PriceSeen(T0, "AAPL", Decimal("100.10"))))
    assert isinstance(event, PriceSeen)
    assert str(event.price) == "100.10"
    assert event.at == T0
    assert event.at.tzinfo is UTC


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (PriceSeen(datetime(2013, 1, 2), "AAPL", Decimal(1)), "aware UTC"),
        (PriceSeen(datetime(2013, 1, 2, tzinfo=timezone(timedelta(hours=-5))), "AAPL", Decimal(1)), "aware UTC"),
        (PriceSeen(pd.Timestamp("2013-01-02", tz="UTC"), "AAPL", Decimal(1)), "Timestamp"),
        (PriceSeen(T0, "AAPL", math.nan), "NaN|nan|not JSON compliant|Out of range"),  # type: ignore[arg-type]
        (PriceSeen(T0, "AAPL", object()), "cannot hold a object"),  # type: ignore[arg-type]
        ("not an event", "one of the core's events"),
    ],
)
def test_what_cannot_be_written_exactly_is_refused(event: Any, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        encode_event(event)


def changed(**changes: Any) -> str:
    record = json.loads(encode_event(PriceSeen(T0, "AAPL", Decimal(1))))
    record["data"] |= changes.pop("data", {})
    return json.dumps(record | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expected an object with v, type and data"),
        ("[]", "Expected an object with v, type and data"),
        (changed(v=99), "Expected schema version 2 or older, was 99: this journal was written by a newer release"),
        (changed(v=0), "Expected schema version 1 to 2, was 0"),
        (changed(v="2"), "Expected schema version 1 to 2, was '2'"),
        (changed(type="Teleported"), "was 'Teleported'"),
        (changed(data={"colour": "red"}), r"unknown fields \['colour'\]"),
        (changed(data={"price": 1.5}), "PriceSeen.price: expected a decimal as text"),
        (changed(data={"price": "one"}), "PriceSeen.price"),
        (changed(data={"symbol": 7}), "PriceSeen.symbol: expected str"),
        (changed(data={"at": "2013-01-02T14:30:00"}), "PriceSeen.at: expected an aware time"),
        (json.dumps({"v": 1, "type": "PriceSeen", "data": {}}), "missing fields"),
    ],
)
def test_what_is_no_event_is_refused(text: str, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        decode_event(text)


def test_a_field_added_later_may_be_missing_in_an_old_journal() -> None:
    old = '{"v":1,"type":"DiscrepancyFound","data":{"at":"2013-01-02T14:30:00+00:00","kind":"k","symbol":"S","detail":"d","action":"a"}}'
    event = decode_event(old)
    assert event.qty is None  # type: ignore[union-attr]


def test_a_clock_event_is_small_and_readable() -> None:
    text = encode_event(ClockTicked(T0, True, T0, T0))
    assert '"market_open":true' in text
    assert len(text) < 250
    assert "\n" not in encode_event(SessionEnded(T0, "two\nlines"))


def test_the_configuration_travels_as_text() -> None:
    config = CoreConfig(sizing=SizingConfig(kelly_fraction=0.25), partial_entry_wait_s=0.0)
    assert CoreConfig.from_json(config.to_json()) == config
    with pytest.raises(CodecError, match="unknown fields"):
        CoreConfig.from_json('{"leverage": 10}')
