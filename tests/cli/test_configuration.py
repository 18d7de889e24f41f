"""The configuration file: every key documented, and what is in force told with where it is from."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import subprocess
import time
import tomllib
from datetime import datetime
from pathlib import Path

import pytest

from bulkmig import Settings
from bulkmig.cli import configuration
from bulkmig.cli.settings import in_force, seconds_until
from bulkmig.errors import UsageError
from bulkmig.postgres.dsn import masked
from tests.support.programs import said


def bulkmig(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return asyncio.run(said(*words, environment=environment, directory=cwd))


def uncommented(text: str) -> str:
    return re.sub(r"^#(?=\w+ = )", "", text, flags=re.MULTILINE)


def test_the_example_names_every_setting_once_with_its_default() -> None:
    assert tomllib.loads(configuration.example()) == {}
    values = tomllib.loads(uncommented(configuration.example()))
    assert set(values) == set(Settings.__struct_fields__)
    assert sum(len(keys) for keys in configuration.ABOUT.values()) == len(values)


def test_the_example_uncommented_is_a_file_that_bulkmig_reads(tmp_path: Path) -> None:
    file = tmp_path / "bulkmig.toml"
    file.write_text(uncommented(configuration.example()))
    read, origins = in_force({"config": file})
    default = Settings()
    for name in set(Settings.__struct_fields__) - set(configuration._SAMPLES):
        assert getattr(read, name) == getattr(default, name)
    assert set(origins.values()) == {f"file {file}"}


def test_a_default_file_that_cannot_be_looked_for_is_no_file_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It might ask for encryption."""

    def refuses(path: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "is_file", refuses)  # a directory that its user may not enter; root may all
    with pytest.raises(UsageError, match=r"can't read bulkmig\.toml: Permission denied") as caught:
        in_force({})
    assert "--config" in caught.value.hint


def test_show_tells_where_each_setting_is_from(tmp_path: Path) -> None:
    (tmp_path / "bulkmig.toml").write_text('memory = "64MB"\nprocesses = 3\nverify = false\n')
    ended = bulkmig(
        *("config", "--show", "--json", "--processes", "2"),
        cwd=tmp_path,
        ONBOARDING_DB_URL="postgresql://reader:hidden@db.example.org/onboarding?sslpassword=hidden",
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)["settings"]
    assert set(found) == set(Settings.__struct_fields__)
    assert found["processes"] == {"value": 2, "from": "flag"}
    assert found["memory"] == {"value": 64 * 2**20, "from": "file bulkmig.toml"}
    assert found["verify"] == {"value": False, "from": "file bulkmig.toml"}
    assert found["attempts"] == {"value": 5, "from": "default"}
    assert found["source"]["from"] == "environment"
    assert "hidden" not in ended.stdout + ended.stderr


def test_show_is_a_table_for_people(tmp_path: Path) -> None:
    ended = bulkmig("config", "--show", "--memory", "64MB", "--window", "1h", cwd=tmp_path)
    assert re.search(r'^memory +"64MB" +flag', ended.stdout, re.MULTILINE), ended.stdout
    assert re.search(r'^window +"3600s" +flag', ended.stdout, re.MULTILINE)


def test_a_key_that_is_not_known_is_refused_with_the_nearest_that_is(tmp_path: Path) -> None:
    (tmp_path / "bulkmig.toml").write_text("paralel_vessels = 4\n")
    ended = bulkmig("config", "--show", cwd=tmp_path)
    assert ended.returncode == 2
    assert "did you mean 'parallel_vessels'?" in ended.stderr


@pytest.mark.parametrize("words", [(), ("--example", "--show")])
def test_one_of_both_must_be_said(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert bulkmig("config", *words, cwd=tmp_path).returncode == 2


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:1/d?sslmode=require", "postgresql://u:***@h:1/d?sslmode=require"),
        ("postgresql://u@h/d?password=p&host=/run", "postgresql://u@h/d?password=***&host=/run"),
        ("postgresql:///d", "postgresql:///d"),
        ("postgresql://u:p/x@h/d", "postgresql://…"),
        ("sqlite:///maintenance.db", "sqlite:///maintenance.db"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert masked(url) == shown


@pytest.mark.parametrize(
    ("now", "hours"),
    [
        ("2026-03-28 22:00", 6.5),  # an hour of that night is left out
        ("2026-10-24 22:00", 8.5),  # and of this one there are two
        ("2026-06-01 05:29", 1 / 60),
        ("2026-06-01 05:30", 24.0),
    ],
)
def test_until_is_a_time_of_the_clock_on_the_wall_also_when_that_is_put_forward_or_back(
    now: str, hours: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        assert seconds_until("05:30", datetime.fromisoformat(now).astimezone()) == hours * 3600
    time.tzset()
