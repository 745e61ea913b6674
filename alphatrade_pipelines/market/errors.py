"""The room's exceptions: what was expected, what was found, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class BarDataError(ValueError):
    """Bars that cannot be used.

    ``where`` names the file, symbol and row as far as they are known, ``fix`` tells the user what to do.
    """

    def __init__(self, expected: str, found: str, *, where: str = "", fix: str = "") -> None:
        self.expected = expected
        self.found = found
        self.where = where
        self.fix = fix
        place = f"{where}: " if where else ""
        advice = f" {fix}" if fix else ""
        super().__init__(f"{place}expected {expected}, found {found}.{advice}")


class MarketDataUnavailableError(RuntimeError):
    """The data venue could not be asked: network, credentials, subscription or rate limit. Nothing is wrong with the bars themselves."""


def nearest(name: str, known: Iterable[str]) -> str:
    """``" Did you mean 'close'?"`` for the nearest known name, ignoring case, or an empty string when nothing is near."""
    by_fold = {candidate.casefold(): candidate for candidate in known}
    match = get_close_matches(name.casefold(), list(by_fold), n=1, cutoff=0.6)
    return f" Did you mean {by_fold[match[0]]!r}?" if match else ""


def check_symbols(asked: Iterable[str], known: Iterable[str], *, where: str) -> None:
    """Raise :class:`BarDataError` for the first symbol that is not known."""
    available = sorted(known)
    for symbol in asked:
        if symbol not in available:
            shown = ", ".join(available[:12]) + (f" … ({len(available)} in all)" if len(available) > 12 else "")
            raise BarDataError(
                f"one of {shown or 'no symbols at all'}", f"unknown symbol {symbol!r}", where=where, fix=nearest(symbol, available).strip()
            )
