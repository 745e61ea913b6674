"""The exchange itself: orders, matching, fills, account, sessions. Pure and deterministic; the backtest calls it in process."""
