"""Sync: changes flow from the source into the target, and what both sides changed is decided.

run ▶ shared, along, vessel ▶ gather ▶ plan ▶ {decide, strategies, standing} ▶ apply ▶ held, conflicts
"""
