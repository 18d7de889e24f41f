"""`bulkmig audit verify`: whether the audit log is what was written, and if not, where it isn't."""

from __future__ import annotations

from msgspec import Struct, field

from bulkmig.ledger import audit, chain
from bulkmig.ledger.chain import COLUMNS, Entry, Head, entry_of, link
from bulkmig.postgres.session import Connection, keys_of

_AT_ONCE = 5000
_CHAIN = f"""
SELECT c.seq, c.audit_id, c.digest, c.hash, {COLUMNS} FROM bulkmig.audit_chain c
  LEFT JOIN bulkmig.audit a ON a.id = c.audit_id WHERE c.seq > $1 ORDER BY c.seq LIMIT {_AT_ONCE}
"""
_LOOSE = f"""
SELECT {COLUMNS} FROM bulkmig.audit a
 WHERE (a.id > (SELECT after FROM bulkmig.audit_head) OR a.id < 1)
   AND NOT EXISTS (SELECT FROM bulkmig.audit_chain c WHERE c.audit_id = a.id) ORDER BY a.id
"""
# Whoever sets the chain back to its beginning leaves the runs: the first one that ended has sealed something.
_SIGNED = """
SELECT mac, EXISTS (SELECT FROM bulkmig.runs WHERE finished_at IS NOT NULL) AS ran FROM bulkmig.audit_head
"""
# Sealed at their end, or by the run that finds them dead.
_OPEN = "SELECT id::text FROM bulkmig.runs WHERE status IN ('running', 'interrupted')"
# What else the ledger says has happened, and the log must tell of.
_UNTOLD = {
    "run": """
SELECT r.id::text FROM bulkmig.runs r WHERE r.started_at >= (SELECT since FROM bulkmig.audit_head)
   AND NOT EXISTS (SELECT FROM bulkmig.audit a WHERE a.run_id = r.id AND a.action = 'started')
""",
    "end of run": """
SELECT r.id::text FROM bulkmig.runs r WHERE r.finished_at IS NOT NULL
   AND r.started_at >= (SELECT since FROM bulkmig.audit_head)
   AND NOT EXISTS (SELECT FROM bulkmig.audit a WHERE a.run_id = r.id AND a.vessel_id IS NULL
        AND a.action IN ('completed', 'completed with failures', 'stopped', 'failed', 'refused'))
""",
    "vessel": """
SELECT v.vessel_id::text FROM bulkmig.vessels v WHERE v.finished_at >= (SELECT since FROM bulkmig.audit_head)
   AND NOT EXISTS (SELECT FROM bulkmig.audit a WHERE a.run_id = v.run_id AND a.vessel_id = v.vessel_id)
""",
}


class Problem(Struct, frozen=True):
    """What is wrong with an entry. `kind`: changed, removed, inserted, chain, head, unsigned or untold;
    `entry`: its id; `seq`: its place in the chain."""

    kind: str
    detail: str
    entry: int | None = None
    seq: int | None = None


class Proof(Struct):
    """What was found. `unsealed`: entries of runs under way or cut off, which nothing vouches for yet;
    `foreign`: entries signed with keys that aren't here."""

    head: Head
    entries: int = 0
    unsealed: int = 0
    signed: int = 0
    foreign: int = 0
    problems: list[Problem] = field(default_factory=list)

    def add(self, kind: str, detail: str, entry: int | None = None, seq: int | None = None) -> None:
        self.problems.append(Problem(kind, detail, entry, seq))


async def prove(connection: Connection, expected: Head | None = None) -> Proof:
    """Goes through the whole log, in one transaction. `expected`: a head that was noted earlier, which the
    chain must still go through."""
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    try:
        proof = Proof(await chain.head(connection))
        walk = _Walk(connection, proof, expected)
        await walk.chain()
        await walk.head()
        await walk.loose()
        walk.signatures()
        await walk.untold()
        return proof
    finally:
        await connection.execute("ROLLBACK")


class _Walk:
    def __init__(self, connection: Connection, proof: Proof, expected: Head | None) -> None:
        self.connection, self.proof, self.expected = connection, proof, expected
        self.keys = keys_of(connection)
        self.last, self.hash = 0, chain.START
        self.first: int | None = None  # the lowest entry that is sealed
        self.macs: set[bytes] = set()
        self.signed_runs: set[str] = set()
        self.unsigned: list[Entry] = []

    async def chain(self) -> None:
        """Every link, and the entry that it stands for."""
        proof = self.proof
        while rows := await self.connection.fetch(_CHAIN, self.last):
            for row in rows:
                seq = row["seq"]
                self.first = min(self.first or row["audit_id"], row["audit_id"])
                if seq != self.last + 1:
                    proof.add("chain", f"links {self.last + 1} to {seq - 1} are gone", seq=seq)
                self.hash = link(self.hash, seq, row["digest"])
                if self.hash != row["hash"]:
                    proof.add("chain", f"link {seq} doesn't follow on the one before", row["audit_id"], seq)
                    self.hash = row["hash"]
                self.last = seq
                if row["id"] is None:
                    proof.add("removed", f"entry {row['audit_id']} is gone", row["audit_id"], seq)
                elif entry_of(row).digest() != row["digest"]:
                    proof.add("changed", f"entry {row['id']} is not what was sealed", row["id"], seq)
                else:
                    self._see(entry_of(row))
                proof.entries += row["id"] is not None
                self._meets_expected(seq)

    def _meets_expected(self, seq: int) -> None:
        expected = self.expected
        if expected is not None and seq == expected.entries and self.hash != expected.hash:
            self.proof.add("head", f"the chain up to {seq} is another one than was noted", seq=seq)

    async def head(self) -> None:
        """What is known of the chain's end."""
        proof, head = self.proof, self.proof.head
        if (head.entries, head.hash) != (self.last, self.hash):
            proof.add("head", f"the chain ends at {self.last}, its head says {head.entries}", seq=self.last)
        if self.expected is not None and self.expected.entries > self.last:
            proof.add("head", f"the chain ends at {self.last}, {self.expected.entries} were noted")
        if self.first is not None and self.first <= head.after:
            proof.add(
                "head", f"entry {self.first} is sealed, and the head says that none before {head.after} is"
            )
        row = await self.connection.fetchrow(_SIGNED)
        if row is None:
            proof.add("head", "the head is gone, and with it what is known of the chain's end")
            return
        mac = row["mac"]
        right = self.keys.signed(head.signed_text(), mac) if mac is not None else None
        if right is False:
            proof.add("head", "the head's signature is not that of the key")
        elif self.keys and right is None and (head.entries or head.after or row["ran"]):
            why = (
                "is gone, or nothing was written with a key yet"
                if mac is None
                else "is of a key that isn't here"
            )
            proof.add("unsigned", f"the head's signature {why}")

    async def loose(self) -> None:
        """Entries that are in no chain: of runs under way or cut off, or put there by somebody else."""
        open_ = {row["id"] for row in await self.connection.fetch(_OPEN)}
        for row in await self.connection.fetch(_LOOSE):
            entry = entry_of(row)
            if entry.run_id in open_:
                self.proof.unsealed += 1
                self._see(entry)
            else:
                self.proof.add("inserted", f"entry {entry.id} was never sealed", entry.id)

    def _see(self, entry: Entry) -> None:
        right = audit.signed(self.keys, entry)
        if entry.mac is None:
            self.unsigned.append(entry)
            return
        if entry.run_id is not None:
            self.signed_runs.add(entry.run_id)
        self.proof.signed += right is True
        self.proof.foreign += right is None
        if right is False:
            self.proof.add("inserted", f"entry {entry.id} is not signed with the key", entry.id)
        if entry.mac in self.macs:
            self.proof.add("inserted", f"entry {entry.id} is a copy", entry.id)
        self.macs.add(entry.mac)

    def signatures(self) -> None:
        """A run that signs, signs each of its entries."""
        for entry in self.unsigned:
            if entry.run_id in self.signed_runs:
                self.proof.add("inserted", f"entry {entry.id} of a run that signs is not signed", entry.id)

    async def untold(self) -> None:
        """What happened by the ledger's other tables, and the log doesn't tell."""
        for what, query in _UNTOLD.items():
            for (id_,) in await self.connection.fetch(query):
                self.proof.add("untold", f"the log tells nothing of {what} {id_}")
