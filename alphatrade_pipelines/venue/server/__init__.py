"""One port that speaks Alpaca: REST, both streams, and ``/admin`` for whoever started it.

Start with ``app``: the server's life, its routes, and the one step everything else follows. Then, from the wire inwards:

Every request
    protocol         below HTTP: what is no request, and who holds a connection without a word
    gate             keys, rate limit, request id, errors in Alpaca's shape
    requests         JSON and query strings become typed requests
    wire             answers become Alpaca's JSON

Trading and account (one module an endpoint family; the plain ones compute, the ``rest_`` ones answer)
    rest_orders      /v2/orders
    rest_positions   /v2/positions
    rest_account     /v2/account
    configurations   /v2/account/configurations
    activities       /v2/account/activities
    portfolio        /v2/account/portfolio/history
    rest_market      /v2/clock, /v2/calendar, /v2/assets

Market data
    rest_data        /v2/stocks, /v1/corporate-actions
    bars             bars of any timeframe, adjusted, never one of the future
    prints           trades and quotes as they are remembered

Streams
    connection       one client: a bounded queue and the task that writes it
    streams          what both streams share, and /stream
    feeds            /v2/{feed}
    market_messages  which messages a step causes

Time
    pacing           venue time by the wall clock: real time, accelerated, paused

For whoever started it
    admin            /admin: time, truth and trouble
    ledger_view      /admin/ledger, whole or in pages
    page             the page at /, its door and its buttons
    page_view        what the page shows
    page_faults      the fault catalogue as forms
"""
