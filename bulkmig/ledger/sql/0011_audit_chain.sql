-- The audit log's chain: which entries there are, in which order they were sealed, each with what came before it.
-- Entries are written in the transactions whose work they record, and sealed afterwards, by one at a time.

-- `mac`: with a key, 16 random bytes, the key's id and the signature of what the entry says.
ALTER TABLE bulkmig.audit ADD COLUMN mac bytea;

CREATE TABLE bulkmig.audit_chain (
    seq      bigint PRIMARY KEY,        -- 1, 2, 3 and so on
    audit_id bigint NOT NULL UNIQUE,
    digest   bytea NOT NULL,            -- SHA-256 of the entry
    hash     bytea NOT NULL             -- SHA-256 of the hash before, seq and digest
);
CREATE TRIGGER audit_chain_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bulkmig.audit_chain
    FOR EACH STATEMENT EXECUTE FUNCTION bulkmig.refuse_change();

-- Its head: how long it is, and how it ends. `mac`: signed with a key. `since`: older entries were never chained.
CREATE TABLE bulkmig.audit_head (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    entries bigint NOT NULL,
    hash    bytea NOT NULL,
    mac     bytea,
    since   timestamptz NOT NULL DEFAULT clock_timestamp(),
    after   bigint NOT NULL             -- the last entry that was there before
);
INSERT INTO bulkmig.audit_head (entries, hash, after)
SELECT 0, decode(repeat('00', 32), 'hex'), coalesce(max(id), 0) FROM bulkmig.audit;
