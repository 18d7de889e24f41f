"""Validates and transforms one batch of one entity's rows: source frame in, target image out.

The image has `vessel_id`, `source_id`, `@id` and one column `table.column` per target cell, only for rows
that are due in the target, in order of `@id` (by the number `@order`, see `ids.order`). Everything that is
not due is named in findings, quarantine or as waiting: nothing is dropped silently.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import lru_cache

import polars as pl
from msgspec import Struct

from bulkmig._core import jsontext
from bulkmig._core.declare import Entity, Rule
from bulkmig._core.findings import FINDING, QUARANTINE, finding
from bulkmig._core.frames import any_true
from bulkmig._core.unit import Check, Unit
from bulkmig.entities import DIGITS
from bulkmig.identify import identify

MESSAGES = {
    "json.unstorable_character": "an escape that no target can store became U+FFFD",
    "json.unstorable": "nested deeper than 900 levels, or a number beyond numeric: shorten it in the source",
    "value.truncated": "cut to what the target's column holds",
    "value.out_of_range": "beyond what the target's column holds: NULL instead",
    "value.unstorable": "the target's column can't hold it and allows no NULL: correct the source row",
}
GOES_WITH = "what it belongs to is quarantined whole"
LOSSY_CODES = ("json.unstorable_character", "value.truncated", "value.out_of_range")


class Outcome(Struct):
    """What became of one batch; `raw` is what was read. Findings and quarantine as `findings` has them."""

    entity: Entity
    rows: int
    raw: pl.DataFrame
    image: pl.DataFrame
    findings: pl.DataFrame
    quarantined: pl.DataFrame
    waiting: pl.DataFrame
    lossiness: Counter[str]
    stats: Counter[str]
    validate_seconds: float
    transform_seconds: float


class _Marks:
    """Collects findings and, per row, the code that keeps it out."""

    def __init__(self, entity: Entity, frame: pl.DataFrame, unit: Unit) -> None:
        self.entity = entity
        self.rows = frame.select("id", "vessel_id")
        # Rows of other vessels that were read along are counted once for the run: Report.count_elsewhere.
        self.own = self.rows["vessel_id"].is_in(list(unit.vessels)) if entity.ancestors else None
        self.findings: list[pl.DataFrame] = []
        self.lossiness: Counter[str] = Counter()
        self.errors: list[tuple[str, str, pl.Series]] = []
        self.refused: list[tuple[str, pl.Series]] = []  # (field, rows that a rule keeps out for it)
        self.quarantine: list[tuple[str, str, pl.Series]] = []
        self._sound: list[tuple[Rule, pl.Series]] = []

    def add(self, rule: Rule, mask: pl.Series) -> None:
        if rule.sound:
            self._sound.append((rule, mask))
        else:
            self._add(rule, mask)

    def settle(self) -> None:
        """Adds what was held back until all errors are known."""
        for rule, mask in self._sound:
            for _, _, wrong in self.errors:
                mask = mask & ~wrong
            self._add(rule, mask)

    def _add(self, rule: Rule, mask: pl.Series) -> None:
        if not any_true(mask):
            return
        if rule.lossy:
            own = mask & self.own if self.own is not None else mask
            self.lossiness[rule.code] += int(own.sum())
        if rule.reported:
            self.findings.append(
                finding(
                    self.rows.filter(mask),
                    self.entity.name,
                    rule.severity,
                    rule.code,
                    rule.field,
                    rule.message,
                )
            )
        if rule.severity == "error":
            self.errors.append((rule.code, rule.message, mask))
        elif rule.quarantine:
            self.quarantine.append((rule.code, rule.message, mask))
        if rule.severity == "error" or rule.quarantine:
            self.refused.append((rule.field, mask))

    def out(self, frame: pl.DataFrame, unit: Unit) -> pl.DataFrame | None:
        """Frame (code, message) a row, the code null where the row is not kept out; None if no row is."""
        marks = [*self.errors, *self.quarantine]
        whole = frame["~whole"] if "~whole" in frame.columns else self._whole(unit)
        if not marks and whole is None:
            return None
        code: pl.Expr = pl.lit(None, dtype=pl.String)
        message: pl.Expr = pl.lit(None, dtype=pl.String)
        columns = {}
        for index, (name, text, mask) in reversed(list(enumerate(marks))):
            columns[f"m{index}"] = mask
            code = pl.when(pl.col(f"m{index}")).then(pl.lit(name)).otherwise(code)
            message = pl.when(pl.col(f"m{index}")).then(pl.lit(text)).otherwise(message)
        rows = self.rows.with_columns(**columns)
        if whole is not None:
            rows = rows.with_columns(whole.alias("whole"))
            code = pl.coalesce(code, pl.col("whole"))
            message = pl.coalesce(message, pl.lit(GOES_WITH))
        return rows.select(code.alias("code"), message.alias("message"))

    def _whole(self, unit: Unit) -> pl.Series | None:
        if not unit.whole:
            return None
        lookup = pl.DataFrame(
            {"vessel_id": list(unit.whole), "whole": list(unit.whole.values())},
            schema={"vessel_id": pl.String, "whole": pl.String},
        )
        return self.rows.join(lookup, on="vessel_id", how="left", maintain_order="left")["whole"]


@lru_cache(maxsize=64)
def _cells(entity: Entity) -> tuple[list[pl.Expr], list[pl.Expr]]:
    cells = [
        cell.expr.alias(f"{table.name}.{name}")
        for table in entity.tables
        for name, cell in table.cells.items()
    ]
    switches = [
        table.when.fill_null(value=False).alias(f"?{table.name}")
        for table in entity.tables
        if table.when is not None
    ]
    return cells, switches


def transform(entity: Entity, raw: pl.DataFrame, unit: Unit) -> Outcome:
    """Applies the entity's whole statement to one batch. Pure apart from what `publish` leaves in `unit`."""
    started = time.perf_counter()
    marks = _Marks(entity, raw, unit)
    frame = _repair(entity, raw, marks)
    frame = identify(entity, DIGITS, frame, unit)
    if entity.prepare is not None:
        frame = entity.prepare(frame, unit)
    _apply_rules(entity, frame, marks)
    validated = time.perf_counter()
    cells, switches = _cells(entity)
    image = frame.select("vessel_id", pl.col("id").alias("source_id"), "@id", "@order", *switches, *cells)
    image = _fit(entity, image, unit, marks)
    marks.settle()
    out = marks.out(frame, unit)
    if entity.publish is not None:
        entity.publish(_with_out(entity, frame, marks, unit), unit)
    _judge(entity, marks, unit)
    waiting = raw.clear()
    quarantined = pl.DataFrame(schema=QUARANTINE)
    if out is not None:
        kept_out = out["code"].is_not_null()
        if entity.tables:
            quarantined = quarantine(entity, raw.filter(kept_out), out.filter(kept_out))
        image = image.filter(~kept_out)
        frame = frame.filter(~kept_out) if entity.waits is not None else frame
    if entity.waits is not None:
        waits = frame.select(entity.waits.fill_null(value=False).alias("w"))["w"]
        waiting = frame.select(raw.columns).filter(waits)
        image = image.filter(~waits)
    return Outcome(
        entity=entity,
        rows=raw.height,
        raw=raw,
        image=image.sort("@order"),
        findings=pl.concat(marks.findings) if marks.findings else pl.DataFrame(schema=FINDING),
        quarantined=quarantined,
        waiting=waiting,
        lossiness=marks.lossiness,
        stats=_stats(entity, raw),
        validate_seconds=validated - started,
        transform_seconds=time.perf_counter() - validated,
    )


def _stats(entity: Entity, raw: pl.DataFrame) -> Counter[str]:
    if not entity.stats:
        return Counter()
    row = raw.select(expr.sum().alias(name) for name, expr in entity.stats.items())
    return Counter({name: int(value) for name, value in row.row(0, named=True).items()})


def _repair(entity: Entity, raw: pl.DataFrame, marks: _Marks) -> pl.DataFrame:
    frame = raw
    for column in entity.json_columns:
        mask = raw.select(jsontext.suspicious(column).alias("s"))["s"]
        if not any_true(mask):
            continue
        texts = raw[column].to_list()
        fixed, bad = [False] * len(texts), [False] * len(texts)
        for index in mask.arg_true():
            text, fixed[index], bad[index] = jsontext.repair(texts[index])
            texts[index] = None if bad[index] else text
            fixed[index] = fixed[index] and not bad[index]
        frame = frame.with_columns(pl.Series(column, texts, dtype=pl.String))
        for code, hit in (("json.unstorable_character", fixed), ("json.unstorable", bad)):
            marks.add(
                Rule(
                    code,
                    column,
                    pl.lit(True),
                    MESSAGES[code],
                    severity="error" if code == "json.unstorable" else "warning",
                    lossy=code in LOSSY_CODES,
                ),
                pl.Series(hit, dtype=pl.Boolean),
            )
    return frame


def _apply_rules(entity: Entity, frame: pl.DataFrame, marks: _Marks) -> None:
    if not frame.height:
        return
    masks = frame.select(
        [rule.when.fill_null(value=False).alias(str(index)) for index, rule in enumerate(entity.rules)]
    )
    for index, rule in enumerate(entity.rules):
        marks.add(rule, masks[str(index)])


def _fit(entity: Entity, image: pl.DataFrame, unit: Unit, marks: _Marks) -> pl.DataFrame:
    needed = unit.decisions.checks[entity.name]
    if not image.height:
        return image
    masks = image.select(
        [check.bad.fill_null(value=False).alias(str(index)) for index, check in enumerate(needed)]
    )
    seen: dict[tuple[str, str], pl.Series] = {}
    details: dict[tuple[str, str], Check] = {}
    for index, check in enumerate(needed):
        mask = masks[str(index)]
        # A value that a rule has refused already need not fit.
        for field, known in marks.refused:
            if field == check.field:
                mask = mask & ~known
        if not any_true(mask):
            continue
        image = image.with_columns(
            pl.when(mask).then(check.mended).otherwise(pl.col(check.column)).alias(check.column)
        )
        if not check.code:
            continue
        key = (check.code, check.field)
        seen[key] = seen[key] | mask if key in seen else mask
        details.setdefault(key, check)
    for (code, field), mask in seen.items():
        where = details[code, field].where
        marks.add(
            Rule(
                code,
                field,
                pl.lit(True),
                f"{MESSAGES[code]}: {where}",
                severity="error" if code == "value.unstorable" else "warning",
                lossy=code in LOSSY_CODES,
            ),
            mask,
        )
    return image


def _with_out(entity: Entity, frame: pl.DataFrame, marks: _Marks, unit: Unit) -> pl.DataFrame:
    """The frame with `~out`: rows that later entities must treat as quarantined."""
    masks = [mask for _, _, mask in marks.quarantine]
    if unit.decisions.on_error == "quarantine":
        masks += [mask for _, _, mask in marks.errors]
    out = pl.Series([False], dtype=pl.Boolean).new_from_index(0, frame.height)
    for mask in masks:
        out = out | mask
    return frame.with_columns(out.alias("~out"))


def _judge(entity: Entity, marks: _Marks, unit: Unit) -> None:
    """Lets errors fail the vessel, or quarantine it whole when they are of its own row."""
    for code, message, mask in marks.errors:
        first = marks.rows.filter(mask).drop_nulls("vessel_id").unique("vessel_id", keep="first")
        for row in first.iter_rows(named=True):
            vessel = row["vessel_id"]
            if unit.decisions.on_error == "fail":
                unit.failing.setdefault(vessel, f"{entity.name} {row['id']}: {code}: {message}")
            elif entity.name == "vessel":
                unit.whole.setdefault(vessel, code)


def quarantine(entity: Entity, raw: pl.DataFrame, why: pl.DataFrame) -> pl.DataFrame:
    """Quarantine entries of source rows; `why`: a frame (code, message), one row each."""
    rows = raw.with_columns(why["code"].alias("~code"), why["message"].alias("~message"))
    return rows.select(
        pl.col("vessel_id"),
        pl.lit(entity.name).alias("entity"),
        pl.col("id").alias("source_id"),
        pl.col("~code").alias("code"),
        pl.col("~message").alias("message"),
        pl.struct(entity.column_names).struct.json_encode().alias("row"),
    )
