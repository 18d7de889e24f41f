"""Target ids: deterministic UUIDs of version 8 (RFC 9562, section 5.8) that cluster by owner.

    oooooooo-oooo-8ehh-8hhh-hhhhhhhhhhhh
    o  first 12 hex digits of SHA-256(owner's source id): vessel, or company for companies and users
    e  the entity's digit, so that no two entities share an id
    h  first 17 hex digits of SHA-256(row's source id)

Source ids enter as PostgreSQL prints them: 36 characters, lower case. Rows of one vessel share a prefix
and so lie next to each other in the target's B-trees (docs/decisions/0002-ids.md).
"""

from __future__ import annotations

import hashlib

import polars as pl
import polars_hash as plh


def digest(column: str) -> pl.Expr:
    """64 hex digits of SHA-256 over a string column; null stays null."""
    expr: pl.Expr = plh.col(column).chash.sha2_256()
    return expr


def derive(owner_digest: pl.Expr, row_digest: pl.Expr, digit: str) -> pl.Expr:
    """The id of a row from the digests of its owner's and its own source id; null where either is null."""
    o, h = owner_digest.str, row_digest.str
    parts = [
        o.slice(0, 8),
        pl.lit("-"),
        o.slice(8, 4),
        pl.lit("-8" + digit),
        h.slice(0, 2),
        pl.lit("-8"),
        h.slice(2, 3),
        pl.lit("-"),
        h.slice(5, 12),
    ]
    return pl.concat_str(parts)


def derive_one(owner: str, source_id: str, digit: str) -> str:
    """`derive` for a single row, from the source ids themselves."""
    o = hashlib.sha256(owner.encode()).hexdigest()
    h = hashlib.sha256(source_id.encode()).hexdigest()
    return f"{o[:8]}-{o[8:12]}-8{digit}{h[:2]}-8{h[2:5]}-{h[5:17]}"


def id_range(owner: str) -> tuple[str, str]:
    """The lowest and the highest id that rows of an owner can have."""
    o = hashlib.sha256(owner.encode()).hexdigest()
    prefix = f"{o[:8]}-{o[8:12]}-"
    return prefix + "8000-8000-000000000000", prefix + "8fff-8fff-ffffffffffff"
