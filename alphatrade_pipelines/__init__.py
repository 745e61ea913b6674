"""AlphaTrade's engine: plain Python rooms from market data to protected live trading; see docs/architecture.md."""

__version__ = "0.1.0"
