"""Traps around the dates of maintenance, and the specifications that take over columns."""

from __future__ import annotations

from bulkmig.generate.frame import Frame
from bulkmig.generate.traps.plant import Family, Planter, Trap

_KEY = '"last_maintenance_date"'


def _dates() -> dict[str, str]:
    """The value of the key as JSON text."""
    texts = {
        "date": "2023-05-17",
        "minutes": "2023-05-17T12:30",
        "space_and_minutes": "2023-05-17 12:30",
        "zone": "2024-01-01T12:30:00Z",
        "offset_to_other_day": "2024-01-01T23:30:00-11:00",
        "junk_after_minutes": "2024-01-01T12:30 about noon",
        "line_break_after_minutes": "2024-01-01T12:30\\n",
        "hour_25": "2024-01-01T25:61",
        "leap_day": "2024-02-29",
        "first": "0001-01-01",
        "last": "9999-12-31",
        "hyphen_escaped": "2023\\u002d05-17",
        "impossible_day": "2023-02-30",
        "no_leap_year": "1900-02-29",
        "month_13": "2023-13-01",
        "day_zero": "2023-05-00",
        "year_zero": "0000-05-17",
        "year_10000": "10000-05-17",
        "negative_year": "-2023-05-17",
        "arabic_digits": "٢٠٢٣-05-17",
        "full_width_digits": "2023-05-1\uff17",
        "other_hyphens": "2023\u201005\u201017",
        "junk_after": "2023-05-17junk",
        "line_break_after": "2023-05-17\\n",
        "space_after": "2023-05-17 ",
        "space_before": " 2023-05-17",
        "short_hour": "2024-01-01T1:00",
        "hour_only": "2024-01-01T12",
        "t_only": "2024-01-01T",
        "small_t": "2024-01-01t12:30",
        "arabic_minutes": "2024-01-01T12:٣٠",
        "two_spaces": "2024-01-01  12:30",
        "no_hyphens": "20230517",
        "short_month": "2023-5-17",
        "slashes": "2023/05/17",
        "day_first": "17.05.2023",
        "week": "2023-W20-3",
        "infinity": "infinity",
        "empty": "",
    }
    others = {
        "null": "null",
        "number": "20230517",
        "boolean": "true",
        "array": '["2023-05-17"]',
        "object": "{}",
    }
    return {**{name: f'"{text}"' for name, text in texts.items()}, **others}


LAST_MAINTENANCE: Family = (
    *(Trap(f"maintenance_{name}", f'{{"hours": 1.50, {_KEY}: {value}}}') for name, value in _dates().items()),
    Trap("maintenance_nul_after", rf'{{{_KEY}: "2023-05-17\u0000"}}', json_only=True),
    Trap("maintenance_lone_surrogate", rf'{{{_KEY}: "2023-05-17T12:30\ud800"}}', json_only=True),
    Trap("maintenance_key_escaped", r'{"\u006cast_maintenance_date": "2023-05-17"}'),
    Trap(
        "maintenance_key_nul",
        rf'{{"last_maintenance_date\u0000": "2020-01-01", {_KEY}: "2023-05-17"}}',
        json_only=True,
    ),
    Trap("maintenance_twice_last_good", f'{{{_KEY}: "never", {_KEY}: "2023-05-17"}}'),
    Trap("maintenance_twice_last_bad", f'{{{_KEY}: "2023-05-17", "a": 1, {_KEY}: null}}'),
    Trap(
        "maintenance_twice_escaped", rf'{{{_KEY}: "2020-01-01", "last\u005fmaintenance_date": "2023-05-17"}}'
    ),
    Trap("maintenance_nested", f'{{"record": {{{_KEY}: "2023-05-17"}}}}'),
    Trap("maintenance_in_array", f'[{{{_KEY}: "2023-05-17"}}]'),
    Trap("maintenance_in_text", rf'{{"text": "{_KEY[1:-1]}\": \"2023-05-17"}}'),
    Trap("maintenance_key_other_case", '{"Last_Maintenance_Date": "2023-05-17"}'),
)
SPECIFICATIONS: Family = (
    Trap("specification_criticality", '{"criticality": "own", "kw": 5.50}'),
    Trap(
        "specification_all_keys", '{"classification": 1, "maintenance_interval_days": [7], "criticality": {}}'
    ),
    Trap("specification_key_null", '{"criticality": null, "maintenance_interval_days": null}'),
    Trap("specification_key_escaped", r'{"\u0063riticality": "own", "classificatio\u006e": 2}'),
    Trap("specification_key_twice", '{"criticality": 1, "classification": 2, "criticality": null}'),
    Trap("specification_key_nested", '{"a": {"criticality": "own"}, "b": [{"classification": 1}]}'),
    Trap("specification_key_in_text", r'{"a": "criticality", "b": "\"classification\": 1"}'),
    Trap("specification_key_other_case", '{"Criticality": "own", "maintenance_interval_days ": 5}'),
    Trap("specification_key_nul", r'{"criticality\u0000": 1}', json_only=True),
    Trap("specification_key_empty_object", "{}"),
    Trap("specification_value_key", '{"value": 1, "criticality": "own"}'),
    Trap("specification_array", '["criticality", {"criticality": 1}]'),
    Trap("specification_string", r'"criticality \ud83d\ude00"'),
    Trap("specification_number", " -12.50 "),
    Trap("specification_false", "false"),
    Trap("specification_json_null", " null\n"),
    Trap("specification_sql_null", None),
)
INTERVALS: Family = tuple(
    Trap(f"interval_{name}", value)
    for name, value in (
        ("null", None), ("zero", "0"), ("negative", "-30"), ("one", "1"), ("beyond_year_9999", "3000000"),
        ("largest", "2147483647"), ("smallest", "-2147483648"),
    )
)  # fmt: skip
_LAST_DAY = f'{{{_KEY}: "9999-12-30"}}'
_CELLS: dict[str, dict[str, str | None]] = {
    "warranty_before_installation": {"installation_date": "2020-06-01", "warranty_expiry": "2020-05-31"},
    "warranty_on_installation": {"installation_date": "2020-06-01", "warranty_expiry": "2020-06-01"},
    "warranty_bc_before_installation": {
        "installation_date": "0001-01-01",
        "warranty_expiry": "0001-12-31 BC",
    },
    "warranty_before_infinity": {"installation_date": "infinity", "warranty_expiry": "5874897-12-31"},
    "warranty_minus_infinity": {"installation_date": "4714-11-24 BC", "warranty_expiry": "-infinity"},
    "next_on_last_day": {"metadata": _LAST_DAY, "maintenance_interval_days": "1"},
    "next_after_last_day": {"metadata": _LAST_DAY, "maintenance_interval_days": "2"},
    "next_from_maintenance": {
        "metadata": f'{{{_KEY}: "2024-02-28T23:59:59Z"}}',
        "maintenance_interval_days": "1",
        "installation_date": "2001-01-01",
    },
    "next_from_installation": {
        "metadata": f'{{{_KEY}: null}}',
        "maintenance_interval_days": "365",
        "installation_date": "2020-02-29",
    },
    "next_from_installation_after_bad_date": {
        "metadata": f'{{{_KEY}: "2023-02-29"}}',
        "maintenance_interval_days": "30",
        "installation_date": "2020-02-29",
    },
    "next_from_bc": {
        "metadata": None,
        "maintenance_interval_days": "400",
        "installation_date": "0001-12-31 BC",
    },
    "next_from_infinity": {
        "metadata": "{}",
        "maintenance_interval_days": "1",
        "installation_date": "infinity",
    },
    "next_without_dates": {"metadata": "[]", "maintenance_interval_days": "30", "installation_date": None},
}  # fmt: skip
ROWS: Family = tuple(Trap(name) for name in _CELLS)


def plant_row(planter: Planter, frame: Frame, row: int) -> None:
    """Makes a row one where several columns have to be read together."""
    trap = planter.draw(ROWS)
    if trap is None or not frame.is_free(row, *_CELLS[trap.name]):
        return
    for column, value in _CELLS[trap.name].items():
        frame.put(row, column, value)
    planter.count(trap.name)
