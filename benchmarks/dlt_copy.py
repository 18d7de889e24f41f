"""The peer dlt: its own reader of SQL databases and its own writer, as its documentation shows them.

    python benchmarks/dlt_copy.py SOURCE_URL TARGET_URL DIRECTORY

Runs by the Python of an environment that dlt is installed in (`benchmarks.peers` makes one) and imports
nothing of the checkout. dlt wants a password, whether the server asks for one or not.
"""

from __future__ import annotations

import argparse
import json

TABLES = (
    "companies",
    "users",
    "vessels",
    "locations",
    "equipment",
    "critical_parts",
    "documents",
    "quality_scores",
    "cross_references",
)


def copy(source: str, target: str, directory: str) -> int:
    """Copies every table into the dataset `copied`; returns how many rows."""
    import dlt  # type: ignore[import-not-found]
    from dlt.sources.sql_database import sql_database  # type: ignore[import-not-found]

    read = source.replace("postgresql://", "postgresql+psycopg2://")
    tables = sql_database(_with_password(read), schema="public", table_names=list(TABLES))
    pipeline = dlt.pipeline(
        "peer",
        destination=dlt.destinations.postgres(_with_password(target)),
        dataset_name="copied",
        pipelines_dir=directory,
    )
    pipeline.run(tables)
    counts = pipeline.last_trace.last_normalize_info.row_counts
    return sum(counts[table] for table in TABLES)


def _with_password(url: str) -> str:
    return url.replace("@", ":none@", 1)


def main() -> None:
    parser = argparse.ArgumentParser(description="dlt")
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("directory", help="where dlt keeps its files")
    chosen = parser.parse_args()
    print(json.dumps({"rows": copy(chosen.source, chosen.target, chosen.directory)}))


if __name__ == "__main__":
    main()
