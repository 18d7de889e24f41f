"""More machines than one: vessels wait in a queue in the target's PostgreSQL, workers anywhere take them.

    submit ──▶ jobs ──▶ desk ──▶ worker ──▶ the unit code of migrate and sync
       ▲        │ pgqueuer                        │
       └────────┴──────── outcome ◀───────────────┘

The submitter decides once and hands its decisions over (`plan.py`); a worker needs the two addresses and
nothing else. Marks in the vessels' own transactions say what is done: the queue may deliver a job twice.
"""
