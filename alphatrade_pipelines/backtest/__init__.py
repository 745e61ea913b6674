"""The core over history: ``driver`` (run), ``broker`` (the exchange in process), ``result``, ``statistics``, ``report`` (tearsheet).

Import the module you need: this package pulls in nothing by itself.
"""
