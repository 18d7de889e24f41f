"""The SQL of roles that may do what bulkmig needs, and nothing else."""

from __future__ import annotations

from bulkmig.doctor.schemas import AUDIT_LOG, read_columns, written_columns

READER, WRITER = "bulkmig_reader", "bulkmig_writer"
# Tables of the contract's portal that bulkmig fills none of, and that hang on what it does fill: a checkpoint
# holds their rows, a rollback brings them back.
HANGING = ("maintenance_logs",)

_HEAD = """\
-- {title}
-- Run as the owner of the {end}, connected to its database.
-- Then give the role a password (\\password {role}) or a certificate.
CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
DO $$ BEGIN
  EXECUTE format('GRANT {database} ON DATABASE %I TO {role}', current_database());
END $$;
GRANT USAGE ON SCHEMA public TO {role};
"""


def grants() -> dict[str, str]:
    """For each end the SQL to run there once, for schemas in `public`."""
    return {"source": _source(), "target": _target()}


def _source() -> str:
    head = _HEAD.format(
        title="Source: reads the tables that move, and the log that deletions come from.",
        end="Onboarding Portal",
        role=READER,
        database="CONNECT",
    )
    # Whole tables: what changed since a snapshot shows in a system column, which takes no grant of its own.
    tables = ",\n  ".join(f"public.{name}" for name in (*read_columns(), AUDIT_LOG))
    return f"{head}GRANT SELECT ON\n  {tables}\nTO {READER};\n"


def _target() -> str:
    # A rollback compares and restores with temporary tables.
    head = _HEAD.format(
        title="Target: reads and writes the tables that are filled, and owns the ledger's schema.",
        end="Maintenance Portal",
        role=WRITER,
        database="CONNECT, TEMPORARY",
    )
    tables = ",\n  ".join(f"public.{name}" for name in (*written_columns(), *HANGING))
    return (
        f"{head}GRANT SELECT, INSERT, UPDATE, DELETE ON\n  {tables}\nTO {WRITER};\n"
        f"CREATE SCHEMA bulkmig AUTHORIZATION {WRITER};\n"
        "-- Only for --fk-check set, from PostgreSQL 15:\n"
        f"-- GRANT SET ON PARAMETER session_replication_role TO {WRITER};\n"
    )
