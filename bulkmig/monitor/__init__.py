"""Whoever watches: the state of a run made of its events or of the ledger, and what shows it."""
