"""The ledger: bulkmig's own tables, in the target, written in the transactions whose work they record."""
