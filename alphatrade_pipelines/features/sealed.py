"""Saved state: canonical JSON with a content hash, arrays as base64 of little-endian float64 (exact, NaN included, and compact)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from alphatrade_pipelines.features.base import FloatArray
from alphatrade_pipelines.features.errors import FeatureStateError


def content_hash(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON; raises ValueError for NaN, which JSON has not."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def seal(content: Mapping[str, Any]) -> str:
    """JSON of ``content`` with its hash under ``content_hash``."""
    return json.dumps({**content, "content_hash": content_hash(content)}, sort_keys=True, allow_nan=False)


def unseal(text: str, version: int, what: str) -> dict[str, Any]:
    """Inverse of :func:`seal`.

    Raises:
        FeatureStateError: not JSON, another format version, or content that does not match its hash.
    """
    try:
        loaded = json.loads(text)
    except json.JSONDecodeError as error:
        raise FeatureStateError(f"the JSON of a {what}", f"text that is no JSON ({error})") from error
    if not isinstance(loaded, dict) or loaded.get("format") != version:
        raise FeatureStateError(f"a {what} of format {version}", str(loaded)[:80], fix="Make it again with this version.")
    claimed = loaded.pop("content_hash", None)
    found = content_hash(loaded)
    if found != claimed:
        raise FeatureStateError(f"content hash {claimed}", found, fix="The state was changed after it was saved.")
    return loaded


def encode(values: FloatArray) -> str:
    """The array's bytes as text; its shape is the caller's business."""
    return base64.b64encode(values.astype("<f8").tobytes()).decode("ascii")


def decode(text: str) -> FloatArray:
    """Inverse of :func:`encode`, flat."""
    return np.frombuffer(base64.b64decode(text), dtype="<f8").astype(np.float64)
