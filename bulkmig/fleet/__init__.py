"""A run over many vessels, step by step: what `bulkmig migrate` does, and other commands in part.

    select ▶ decide ▶ companies and users ▶ vessels, many at once ▶ waiting rows ▶ verify ▶ report

migrate ▶ {companies, vessels, waiting, proof, ending} ▶ run ▶ beginning

A step is a function of the run (run.py). One that is cut off by a lost session or by another transaction is
done again, as often as the settings say. Where the source's snapshot is lost, there is a new one, and what
was decided and written of companies and users is looked at again.
"""
