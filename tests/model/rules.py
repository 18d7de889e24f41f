"""The rules of § Sync and § Rollback by name, each with its sentence, and how often each was hit."""

from __future__ import annotations

from collections import Counter

RULES: dict[str, str] = {
    "insert": "Everything syncs: companies, users, vessels, equipment, parts, documents, ...",
    "update": "A row is written anew whenever anything its transform reads changes",
    "location": "a location renamed or moved changes all equipment below it, on other vessels too",
    "assessor arrives": "an assessor who arrives",
    "e-mail won": "the winner of a duplicate e-mail who leaves",
    "leaves quarantine": "an equipment that leaves quarantine",
    "unchanged": "Rows that come out identical are skipped and not counted as updates.",
    "full": "`sync --full` compares every row, also those whose `updated_at` never moves",
    "move": "Equipment that moves to another vessel, with what hangs on it, moves in one transaction",
    "user brings company": "A user who moves to a company that is not in the target brings that company.",
    "exchange": "Vessels that exchange unique values commit together.",
    "kept by error": "A loaded row that would now be quarantined, by error ..., keeps its last state",
    "kept by warning": "A loaded row that would now be quarantined, ... by warning, keeps ...",
    "kept child": "and so do its loaded children",
    "new child waits": "new children wait",
    "vessel fails": "Under `--on-error fail` an error fails the whole vessel's sync.",
    "deleted": "Deletions come from `audit_logs` and from comparing keys. ... everything else is deleted",
    "document stays": "Documents that survive their equipment move to the vessel before the equipment goes",
    "decommissioned": "Equipment with maintenance logs ... set to `decommissioned`",
    "vessel inactive": "a vessel with such equipment, or with rows of the portal's own, becomes `inactive`",
    "user inactive": "a user whom the portal's rows refer to becomes inactive",
    "company stays": "a company with anything left stays",
    "brake": "more than a set share of the rows ... stops that vessel's deletions",
    "brake, gone whole": "or a vessel or company gone whole, stops that vessel's deletions",
    "brake released": "until an option allows them",
    "source_wins": "every field takes the source's value, also where the portal alone changed it",
    "target_wins": "every field keeps the target's, also where the source alone changed it",
    "merge, one side": "where one side alone changed it, that side's value",
    "merge, later": "dates and times take the later",
    "merge, larger": "numbers the larger",
    "merge, value": "a value beats NULL",
    "merge, status": "equipment `status` the first of fault, maintenance, operational, decommissioned",
    "merge, source's": "and everything else (text, JSON whole, booleans, vessel status) the source's",
    "manual": "nothing is written, the conflict stays open until `bulkmig conflicts resolve` decides",
    "manual, later sync": "across later syncs",
    "resolved": "until `bulkmig conflicts resolve` decides",
    "decided once": "After a decision the base is the source's values",
    "gone in the source, source_wins": "deleted in the source, changed by the portal: source_wins ... delete",
    "gone in the source, merge": "deleted in the source, changed by the portal: ... merge delete",
    "gone in the source, target_wins": "target_wins keeps",
    "gone in the source, manual": "manual: open",
    "gone in the portal, source_wins": "Deleted by the portal, changed in the source: ... create it",
    "gone in the portal, merge": "... and merge create it anew under the same id",
    "gone in the portal, target_wins": "target_wins leaves it deleted",
    "gone in the portal, manual": "manual: open",
    "gone in the portal, unchanged": "Deleted by the portal, unchanged in the source: stays deleted.",
    "portal only": "A row that only the portal changed is not touched.",
    "rolled back": "`sync --all` leaves a vessel that was rolled back alone until it is migrated again.",
    "approved": "newly approved ones unless `--no-new`",
    "reference waits": "such a row is loaded once both ends are in the target",
    "reference arrives": "a later run finishes it",
    "adopted": "A target row that already exists under its natural key ... is adopted",
    "rollback": "Rolling back restores exactly that state in one transaction per vessel",
    "rollback refused": "If the portal changed or added rows of the vessel since ..., rollback refuses",
    "rollback forced": "`--force` discards them, after taking a checkpoint of its own",
    "rollback undone": "so that a rollback can be rolled back",
    "rollback of a run": "`--run` undoes the run's vessels, then its companies and users",
    "rollback, in use": "rows in use elsewhere stay, and are listed",
    "rollback, reference": "their cross references ...: these become pending again",
    "rollback, later": "Later changes of bulkmig to that vessel are undone with it, and listed.",
}

#: Rules that no sequence reaches without the package's sync.
WITHOUT_SYNC = frozenset(
    {
        "insert",
        "reference waits",
        "reference arrives",
        "adopted",
        *(name for name in RULES if name.startswith("rollback")),
    }
)


class Hits:
    """How often each rule decided something."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def __call__(self, rule: str) -> None:
        if rule not in RULES:
            raise ValueError(f"no rule is called {rule!r}")
        self.counted[rule] += 1

    def missing(self, names: frozenset[str], least: int) -> dict[str, int]:
        """Those of these rules that were hit less often."""
        return {name: self.counted[name] for name in sorted(names) if self.counted[name] < least}

    def table(self) -> str:
        """Every rule, how often it was hit, and its sentence."""
        return "".join(f"{self.counted[name]:>8}  {name:36}{sentence}\n" for name, sentence in RULES.items())
