"""``python -m alphatrade_pipelines.venue``."""

from __future__ import annotations

from alphatrade_pipelines.venue.entry import main

if __name__ == "__main__":
    raise SystemExit(main())
