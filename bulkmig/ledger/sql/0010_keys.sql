-- With which keys values of the ledger are encrypted: told by their ids, which give nothing away.
CREATE TABLE bulkmig.keys (
    id    bytea PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);
