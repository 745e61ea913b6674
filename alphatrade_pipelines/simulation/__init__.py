"""Deterministic simulation: the core, the live session, the gateway with the real SDK and the venue on one seeded, virtual clock.

Nothing here is a second implementation: ``live`` and ``venue`` run as they are, only the socket between them, time and chance are
replaced. See docs/simulation.md.
"""
