"""Checkpoints: what a vessel was in the target before a change, and the way back to it.

take ▶ parts        before a change, in its transaction
stage ▶ restore     the way back: state, expected and current rows side by side, then their difference
"""
