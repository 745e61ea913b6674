"""One port that speaks Alpaca: REST, both streams, and ``/admin`` for whoever started it."""
