"""What happened, from the journal alone: ``book`` (orders and fills), ``trades`` (round trips, attribution), ``protection``, ``summary``,
``tables``, ``explain``. Import the module you need: this package pulls in nothing by itself.
"""
