"""Dates and times that PostgreSQL knows and that few others do."""

from __future__ import annotations

from bulkmig.generate.traps.plant import Family, Trap

TIMESTAMPS: Family = (
    Trap("timestamp_infinity", "infinity"),
    Trap("timestamp_minus_infinity", "-infinity"),
    Trap("timestamp_bc", "0044-03-15 12:34:56.7+00 BC"),
    Trap("timestamp_first", "4714-11-24 00:00:00+00 BC"),
    Trap("timestamp_year_one", "0001-01-01 00:00:00+00"),
    Trap("timestamp_last_of_bc", "0001-12-31 23:59:59.999999+00 BC"),
    Trap("timestamp_before_1970", "1969-12-31 23:59:59.999999+00"),
    Trap("timestamp_microseconds", "2023-05-06 07:08:09.123456+00"),
    Trap("timestamp_one_microsecond", "2023-05-06 07:08:09.000001+00"),
    Trap("timestamp_tenths", "2023-05-06 07:08:09.5+00"),
    Trap("timestamp_offset", "2023-01-01 00:30:00+14"),
    Trap("timestamp_leap_day", "2024-02-29 23:59:59.999999+00"),
    Trap("timestamp_last_of_9999", "9999-12-31 23:59:59.999999+00"),
    Trap("timestamp_year_10000", "10000-01-01 00:00:00+00"),
    Trap("timestamp_year_12345", "12345-06-07 08:09:10.5+00"),
    Trap("timestamp_last", "294276-12-31 23:59:59.999999+00"),
)
GIVEN_DATES: Family = (
    Trap("date_infinity", "infinity"),
    Trap("date_minus_infinity", "-infinity"),
    Trap("date_bc", "0044-03-15 BC"),
    Trap("date_first", "4714-11-24 BC"),
    Trap("date_last_of_bc", "0001-12-31 BC"),
    Trap("date_first_of_year_one", "0001-01-01"),
    Trap("date_leap_day", "2024-02-29"),
    Trap("date_last_of_9999", "9999-12-31"),
    Trap("date_year_10000", "10000-01-01"),
    Trap("date_last", "5874897-12-31"),
)
DATES: Family = (*GIVEN_DATES, Trap("date_null", None))
