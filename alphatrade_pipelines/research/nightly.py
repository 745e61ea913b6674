"""Whether there is anything to learn: the end of a session, new bars, and what sensors found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.research import champions
from alphatrade_pipelines.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """What a sensor saw. ``key`` is equal for equal findings, so that one cause asks once; ``alarm``: what a person must look at, because
    a retrain would not mend it."""

    fires: bool
    detail: str
    key: str
    alarm: str = ""


def trained_on_all(settings: Settings) -> str:
    """Which champion was trained on exactly the bars now in the store, as a sentence; empty when there are others or no usable champion."""
    from alphatrade_pipelines.models.errors import BundleFormatError

    try:
        facts = champions.champion_bundle(settings)
    except BundleFormatError:
        return ""
    store = bootstrap.bar_store(settings)
    if facts is None or not store.exists or facts[1].manifest["data_hash"] != store.data_hash():
        return ""
    return f"champion {facts[0].version} was trained on exactly these bars"


def no_session_ended(moment: datetime) -> str:
    """Why there is nothing to learn from the New York day of ``moment`` (aware), or empty: a weekend, a holiday, a session not over yet.

    Half days are sessions; they are over in the early afternoon.
    """
    from alphatrade_pipelines.market import SessionCalendar

    calendar = SessionCalendar()
    day = moment.astimezone(ZoneInfo("America/New_York")).date()
    if calendar.session_of(moment) != day:
        return f"{day} was no session of the New York Stock Exchange"
    close = calendar.session_bounds(moment)[1]
    return f"the session of {day} closes only at {close:%H:%M} UTC" if close > moment else ""


def nothing_new_to_learn(settings: Settings) -> str:
    """Why a nightly retrain, which begins with ingest, would repeat itself, or empty. Only sample and synthetic never grow."""
    if settings.market.source not in ("sample", "synthetic"):
        return ""
    seen = trained_on_all(settings)
    return f"{seen}, and source {settings.market.source} does not grow" if seen else ""
