"""A small switchboard of things that go wrong between client and exchange. The exchange itself stays right: only the wire lies."""

from __future__ import annotations

from alphatrade_pipelines.venue.exchange.errors import malformed

KINDS = {
    "drop_after_accept": "the next N POST /v2/orders are taken, then the connection is cut without an answer",
    "error_504_after_accept": "the next N POST /v2/orders are taken, then answered 504",
    "hang_after_accept": "the next N POST /v2/orders are taken, then nothing comes for `seconds`",
    "reject_503": "the next N POST /v2/orders are answered 503 and NOT taken",
    "mute_trade_updates": "the next N trade updates are not sent",
    "duplicate_trade_updates": "the next N trade updates are sent twice",
    "cut_streams": "all stream connections are cut now",
}


class Faults:
    """How often each fault is still to happen, and how often it has."""

    def __init__(self) -> None:
        self.left = dict.fromkeys(KINDS, 0)
        self.done = dict.fromkeys(KINDS, 0)
        self.hang_seconds = 30.0

    def arm(self, kind: object, count: object, seconds: object = None) -> None:
        """Let ``kind`` happen ``count`` more times. Raises VenueError 422 for an unknown kind or a bad count."""
        if kind not in KINDS:
            raise malformed(f"unknown fault {kind!r}: {', '.join(KINDS)}")
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise malformed("count must be a whole number >= 0")
        if seconds is not None:
            if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or seconds < 0:
                raise malformed("seconds must be a number >= 0")
            self.hang_seconds = float(seconds)
        self.left[str(kind)] = count

    def take(self, kind: str) -> bool:
        """True if ``kind`` is to happen now; counts it."""
        if self.left[kind] <= 0:
            return False
        self.left[kind] -= 1
        self.done[kind] += 1
        return True

    def describe(self) -> dict[str, dict[str, object]]:
        """All faults with what they do, armed and done counts."""
        return {kind: {"does": does, "armed": self.left[kind], "done": self.done[kind]} for kind, does in KINDS.items()}
