"""Keys that come back: a proxy's error page, or a debugging server, may show the headers of the request it answers.

What Alpaca's clients are answered ends up in exceptions, logs and the journal, so their keys are taken out of it first.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

MASK = "***"
# the local venue's stand-ins for keys are words like "sim": nobody's secret, and part of other words
SHORTEST = 4


def spellings(keys: Iterable[str | None]) -> list[str]:
    """How a page may write these keys: as they are, for HTML, for a URL, for JSON with escaped slashes. The longest come first."""
    plain = {key.strip() for key in keys if key and len(key.strip()) >= SHORTEST}
    spelt = {way for key in plain for way in (key, html.escape(key), quote(key, safe=""), key.replace("/", "\\/"))}
    return sorted(spelt, key=lambda text: (-len(text), text))


def masked(text: str, keys: Iterable[str | None]) -> str:
    """``text`` without the keys, however they are spelt."""
    for spelt in spellings(keys):
        text = text.replace(spelt, MASK)
    return text


def mask_answers(client: Any) -> None:
    """Take an SDK client's own keys out of every answer before anybody, the SDK included, reads it."""
    spelt = [way.encode() for way in spellings((client._api_key, client._secret_key, client._oauth_token))]

    def mask(response: Any, **_: Any) -> None:
        content = response.content
        for secret in spelt if content else ():
            content = content.replace(secret, MASK.encode())
        response._content = content

    client._session.hooks["response"].append(mask)
