"""structlog set-up: one place, secrets redacted by key and by value before anything is written."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

REDACTED = "[redacted]"
_SECRET_KEY = re.compile(r"secret|password|token|api[_-]?key|key_id|authorization", re.IGNORECASE)
_secret_values: set[str] = set()


def hide(*secrets: str | None) -> None:
    """From now on never print these values, whatever key or message carries them."""
    _secret_values.update(secret for secret in secrets if secret and len(secret) >= 4)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: blank out values of secret-looking keys and known secret values, at any depth."""
    for key in list(event):
        event[key] = REDACTED if _SECRET_KEY.search(key) else _scrub(event[key])
    return event


def _scrub(value: Any) -> Any:
    if isinstance(value, str):
        for secret in _secret_values:
            value = value.replace(secret, REDACTED)
        return value
    if isinstance(value, dict):
        return {k: REDACTED if isinstance(k, str) and _SECRET_KEY.search(k) else _scrub(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_scrub(v) for v in value)
    return value


class _Stderr:
    """Whatever stands for stderr now. A line that cannot be written is dropped: a closed terminal must not stop a trader."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


class _RedactingFilter(logging.Filter):
    """Libraries log through the standard module; their messages pass the same scrubber."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        scrubbed = _scrub(message)
        if scrubbed != message:
            record.msg, record.args = scrubbed, ()
        return True


def configure(level: str = "INFO", as_json: bool = False) -> None:
    """Set up structlog and route the standard library's root handler through the redacting filter. Call once per process."""
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Stderr())),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    if not root.handlers:
        logging.basicConfig(level=level, stream=sys.stderr)
    for handler in root.handlers:
        if not any(isinstance(f, _RedactingFilter) for f in handler.filters):
            handler.addFilter(_RedactingFilter())
