"""equipment.specifications and equipment_metadata.verification_data: JSON made as text, digit by digit."""

from __future__ import annotations

import polars as pl

from bulkmig._core import jsontext

MERGED = ("criticality", "classification", "maintenance_interval_days")
_SPACE = " \t\r\n"


def merge(frame: pl.DataFrame) -> pl.DataFrame:
    """Adds `~specifications` and `~wrapped`: the source object, plus the merged columns that are not NULL
    and not there already (mapping.md, "specifications")."""
    present = {key: [False] * frame.height for key in MERGED}
    texts = frame["specifications"]
    suspects = texts.str.contains_any([*MERGED, "\\u"]).arg_true()
    for index in suspects:
        for key in jsontext.members(texts[index]).keys() & present.keys():
            present[key][index] = True
    additions = []
    for key in MERGED:
        value = pl.col(key) if key == "maintenance_interval_days" else _quoted(frame[key])
        additions.append(pl.when(~pl.col(f"~has_{key}")).then(pl.lit(f'"{key}": ') + value))
    source = pl.col("specifications").str.strip_chars(_SPACE)
    is_object = source.str.starts_with("{")
    base = (
        pl.when(source.is_null())
        .then(pl.lit("{}"))
        .when(is_object)
        .then(source)
        .otherwise(pl.concat_str([pl.lit('{"value": '), source, pl.lit("}")]))
    )
    return (
        frame.with_columns(
            pl.Series(f"~has_{key}", values, dtype=pl.Boolean) for key, values in present.items()
        )
        .with_columns(
            base.alias("~base"),
            pl.concat_str(additions, separator=", ", ignore_nulls=True).alias("~added"),
            (~is_object).alias("~wrapped"),
        )
        .with_columns(
            pl.when(pl.col("~added") == "")
            .then("~base")
            .when(pl.col("~base").str.contains(r"^\{\s*\}$"))
            .then(pl.concat_str([pl.lit("{"), "~added", pl.lit("}")]))
            .otherwise(
                pl.concat_str([pl.col("~base").str.strip_suffix("}"), pl.lit(", "), "~added", pl.lit("}")])
            )
            .alias("~specifications")
        )
    )


def _quoted(column: pl.Series) -> pl.Expr:
    values = column.unique().drop_nulls().to_list()
    return pl.col(column.name).replace_strict(
        values, [jsontext.quote(v) for v in values], default=None, return_dtype=pl.String
    )


def verification_data() -> pl.Expr:
    """`{"verified_by": …, "last_verified_at": …, "next_verification_date": …}`, as `jsonb` would print it,
    with dates and times as PostgreSQL's `to_jsonb` writes them in UTC."""
    moment = (
        pl.col("last_verified_at")
        .str.replace(" ", "T", literal=True)
        .str.replace("+00", "+00:00", literal=True)
    )
    return pl.concat_str(
        [
            pl.lit('{"verified_by": '),
            _string_or_null(pl.col("verified_by")),
            pl.lit(', "last_verified_at": '),
            _string_or_null(moment),
            pl.lit(', "next_verification_date": '),
            _string_or_null(pl.col("next_verification_date")),
            pl.lit("}"),
        ]
    )


def _string_or_null(value: pl.Expr) -> pl.Expr:
    return pl.when(value.is_null()).then(pl.lit("null")).otherwise(pl.lit('"') + value + pl.lit('"'))
