"""What becomes of the rows of a batch, for an entity that is made up: reasons, nulls of rules, JSON, time."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping

import polars as pl
import pytest
from msgspec.structs import replace

from bulkmig import transform as module
from bulkmig._core.declare import Column, Entity, Kind, Rule, Table, copied
from bulkmig._core.findings import QUARANTINE, Severity
from bulkmig._core.unit import Check, Decisions, Unit
from bulkmig.transform import GOES_WITH, Outcome, transform

UNKNOWN = pl.col("name").str.contains("x")  # null where the name is
THING = Entity(
    name="thing",
    source="things",
    digit="f",
    columns=(
        Column("id", Kind.ID),
        Column("vessel_id", Kind.ID),
        Column("name"),
        Column("first", Kind.JSON),
        Column("second", Kind.JSON),
    ),
    tables=(
        Table("things", ("id",), {**copied("id", "name", "first", "second")}),
        Table("more", ("id",), {**copied("id")}, when=UNKNOWN),
    ),
)
IDS = [f"0000000{n}-0000-4000-8000-000000000000" for n in range(1, 4)]
VESSEL = "00000000-0000-4000-8000-00000000000a"


def rule(code: str, when: pl.Expr, **more: bool) -> Rule:
    severity: Severity = "error" if more.pop("error", False) else "warning"
    return Rule(code, "name", when, f"the message of {code}", severity=severity, **more)


def named(name: str) -> pl.Expr:
    return pl.col("name") == name


def rows(*names: str | None, **columns: list[str | None]) -> pl.DataFrame:
    count = len(names)
    values: Mapping[str, list[str | None]] = {
        "id": [*IDS[:count]],
        "vessel_id": [VESSEL] * count,
        "name": [*names],
        "first": [None] * count,
        "second": [None] * count,
        **columns,
    }
    return pl.DataFrame(values, schema=dict.fromkeys(THING.column_names, pl.String))


def unit(*checks: Check, on_error: str = "quarantine") -> Unit:
    return Unit(Decisions(on_error, {}, {}, checks={"thing": [*checks]}), (VESSEL,))


def become(frame: pl.DataFrame, *rules: Rule, checks: tuple[Check, ...] = ()) -> Outcome:
    return transform(replace(THING, rules=rules), frame, unit(*checks))


def there(outcome: Outcome) -> set[str]:
    return set(outcome.image["source_id"])


def image(outcome: Outcome, column: str) -> list[object]:
    return outcome.image.sort("source_id")[column].to_list()


def why(outcome: Outcome) -> list[tuple[str, str]]:
    return [*outcome.quarantined.select("code", "message").iter_rows()]


def found(outcome: Outcome) -> set[tuple[str, str]]:
    return set(outcome.findings.select("code", "source_id").iter_rows())


def test_a_row_with_several_reasons_is_kept_out_for_its_first_error() -> None:
    outcome = become(
        rows("a"),
        rule("warned", named("a"), quarantine=True),
        rule("one", named("a"), error=True),
        rule("other", named("a"), error=True),
    )
    assert why(outcome) == [("one", "the message of one")]
    assert outcome.quarantined.columns == [*QUARANTINE]
    assert outcome.quarantined.row(0)[:3] == (VESSEL, "thing", IDS[0])
    assert json.loads(outcome.quarantined["row"].item())["name"] == "a"
    assert {code for code, _ in found(outcome)} == {"warned", "one", "other"}


def test_rows_of_a_vessel_that_is_kept_out_whole_go_with_it_unless_they_have_a_reason_of_their_own() -> None:
    of = unit()
    of.whole[VESSEL] = "vessel.imo_taken"
    outcome = transform(replace(THING, rules=(rule("own", named("a"), error=True),)), rows("a", "b"), of)
    assert why(outcome) == [("own", "the message of own"), ("vessel.imo_taken", GOES_WITH)]
    assert there(outcome) == set()


def test_a_rule_that_is_null_for_a_row_does_not_hold_there() -> None:
    frame = rows("x", None)
    out: list[list[bool]] = []
    entity = replace(
        THING,
        rules=(
            rule("wrong", UNKNOWN, error=True),
            rule("sound", pl.lit(value=True) | UNKNOWN, sound=True),
        ),
        publish=lambda made, _: out.append(made["~out"].to_list()),
    )
    outcome = transform(entity, frame, unit())
    assert found(outcome) == {("wrong", IDS[0]), ("sound", IDS[1])}
    assert there(outcome) == {IDS[1]}
    assert out == [[True, False]]


@pytest.mark.parametrize("of", ["when", "waits"])
def test_a_row_for_which_it_is_null_is_in_no_further_table_and_waits_for_nothing(of: str) -> None:
    outcome = transform(
        replace(THING, waits=UNKNOWN if of == "waits" else None), rows("x", None, "y"), unit()
    )
    if of == "when":
        assert image(outcome, "?more") == [True, False, False]
        assert outcome.waiting.height == 0
    else:
        assert outcome.waiting["id"].to_list() == [IDS[0]]
        assert there(outcome) == {IDS[1], IDS[2]}


def named_in_image(name: str) -> pl.Expr:
    return pl.col("things.name") == name


TOO_LONG = Check(
    "things.name",
    "name",
    "value.truncated",
    pl.col("things.name").str.len_chars() > 2,
    pl.col("things.name").str.slice(0, 2),
    "things.name",
)


@pytest.mark.parametrize(
    ("reason", "codes"),
    [
        (rule("wrong", named("long"), error=True), {"wrong"}),
        (rule("put_aside", named("long"), quarantine=True), {"put_aside"}),
        (rule("warned", named("long")), {"warned", "value.truncated"}),
    ],
    ids=["error", "quarantine", "warning"],
)
def test_a_value_need_not_fit_where_its_row_is_kept_out_for_it(reason: Rule, codes: set[str]) -> None:
    outcome = become(rows("long", None, "ok"), reason, checks=(TOO_LONG,))
    assert found(outcome) == {(code, IDS[0]) for code in codes}


def test_a_value_that_fits_none_of_several_columns_has_one_finding_and_is_mended_in_each() -> None:
    checks = (
        replace(TOO_LONG, bad=named_in_image("a"), mended=pl.lit("b")),
        replace(TOO_LONG, bad=named_in_image("c"), mended=pl.lit("d")),
    )
    outcome = become(rows("a", "c", "e"), checks=checks)
    assert found(outcome) == {("value.truncated", IDS[0]), ("value.truncated", IDS[1])}
    assert outcome.findings["message"].str.contains("things.name").all()
    assert outcome.lossiness == {"value.truncated": 2}
    assert image(outcome, "things.name") == ["b", "d", "e"]


def test_a_value_that_is_only_spelled_otherwise_is_no_finding() -> None:
    respelled = replace(TOO_LONG, code="", bad=named_in_image("long"), mended=pl.lit("LONG"))
    outcome = become(rows("long", "too long"), checks=(respelled, TOO_LONG))
    assert image(outcome, "things.name") == ["LO", "to"]
    assert found(outcome) == {("value.truncated", id_) for id_ in IDS[:2]}


def test_a_value_that_can_not_be_stored_keeps_its_row_out() -> None:
    missing = replace(TOO_LONG, code="value.unstorable", bad=pl.col("things.name").is_null(), mended=None)
    outcome = become(rows(None, "a"), checks=(TOO_LONG, missing))
    assert [code for code, _ in why(outcome)] == ["value.unstorable"]
    assert found(outcome) == {("value.unstorable", IDS[0])}
    assert outcome.findings["severity"].to_list() == ["error"]
    assert (there(outcome), outcome.lossiness) == ({IDS[1]}, {})


def test_every_column_of_json_is_looked_at_and_every_row_of_it() -> None:
    outcome = become(rows("a", "b", second=[None, '"\\u0000"']))
    assert found(outcome) == {("json.unstorable_character", IDS[1])}
    assert image(outcome, "things.second") == [None, '"\\ufffd"']
    assert outcome.lossiness == {"json.unstorable_character": 1}


def test_json_that_can_not_be_stored_is_not_repaired_as_well() -> None:
    outcome = become(rows("a", first=['["\\u0000", 1e999999]']))
    assert found(outcome) == {("json.unstorable", IDS[0])}
    assert outcome.lossiness == {}
    assert why(outcome)[0][0] == "json.unstorable"


def test_what_is_counted_are_rows_of_which_it_is_true() -> None:
    outcome = transform(replace(THING, stats={"with_x": UNKNOWN}), rows("x", None, "y"), unit())
    assert outcome.stats == {"with_x": 1}


def test_a_batch_without_rows_comes_to_nothing() -> None:
    outcome = become(rows(), rule("wrong", named("a"), error=True, lossy=True), checks=(TOO_LONG,))
    assert (outcome.rows, outcome.image.height, outcome.findings.height) == (0, 0, 0)
    assert outcome.lossiness == {}


@pytest.mark.parametrize(("on_error", "failing"), [("fail", {VESSEL}), ("quarantine", set())])
def test_an_error_fails_its_vessel_only_where_that_is_asked_for(on_error: str, failing: set[str]) -> None:
    of = unit(on_error=on_error)
    entity = replace(
        THING, rules=(rule("wrong", named("a"), error=True), rule("late", ~named("z"), error=True))
    )
    transform(entity, rows("b", "a", "a"), of)
    assert of.failing.keys() == failing
    for reason in of.failing.values():
        assert reason == f"thing {IDS[1]}: wrong: the message of wrong"


def test_an_error_of_a_row_without_a_vessel_fails_none() -> None:
    of = unit(on_error="fail")
    transform(replace(THING, rules=(rule("wrong", named("a"), error=True),)), rows("a", vessel_id=[None]), of)
    assert of.failing == {}


def test_validation_ends_where_the_transform_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.accumulate([10, 2, 5])  # begins, has validated, has transformed
    monkeypatch.setattr(module, "time", type("Clock", (), {"perf_counter": lambda: next(clock)}))
    outcome = become(rows("a"))
    assert (outcome.validate_seconds, outcome.transform_seconds) == (2, 5)
