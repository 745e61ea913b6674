"""No secret reaches a log line, whichever way it tries."""

from __future__ import annotations

import io
import logging
import sys

import pytest
import structlog

from alphatrade_pipelines import logs


@pytest.fixture(autouse=True)
def _plain_structlog():
    yield
    structlog.reset_defaults()


def test_secret_keys_and_known_values_are_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    logs.hide("s3cr3t-value")
    logs.configure(as_json=True)
    structlog.get_logger().info(
        "sent s3cr3t-value", secret_key="abc123", nested={"Authorization": "Bearer x", "note": ["has s3cr3t-value"]}
    )
    line = capsys.readouterr().err
    assert "s3cr3t-value" not in line
    assert "abc123" not in line
    assert "Bearer" not in line
    assert line.count(logs.REDACTED) == 4


def test_library_messages_pass_the_same_scrubber(caplog: pytest.LogCaptureFixture) -> None:
    logs.hide("library-secret")
    logs.configure()
    handler = logging.getLogger().handlers[0]
    record = logging.LogRecord("lib", logging.INFO, "f", 1, "key=%s", ("library-secret",), None)
    assert handler.filter(record)
    assert record.getMessage() == f"key={logs.REDACTED}"


def test_a_line_that_cannot_be_written_stops_nobody(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(as_json=True)
    log = structlog.get_logger()
    closed = io.StringIO()
    closed.close()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", closed)
        log.info("into the void")
    log.info("heard again")
    assert "heard again" in capsys.readouterr().err
