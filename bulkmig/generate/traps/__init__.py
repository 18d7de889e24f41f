"""The traps: one module for each kind of row, and what any text, JSON or time column can hold.

A trap has a stable name under which it is counted. Families are tuples of traps from which one is drawn in
turn, in shuffled rounds, so that every one comes up equally often. A trap that is an error goes to a row that
carries nothing else: what else it carried would never reach a target.
"""
