"""Sync: changes flow from the source into the target, and what both sides changed is decided.

run ▶ shared, vessel ▶ gather ▶ plan ▶ {decide, strategies, standing} ▶ apply ▶ conflicts
"""
