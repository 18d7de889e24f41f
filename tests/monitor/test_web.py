"""The dashboard's server: who may look, what it answers, and that it only ever answers questions."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bulkmig import Selection, Settings, UsageError, migrate
from bulkmig.events import (
    Due,
    FleetListed,
    PhaseStarted,
    Retrying,
    RunStarted,
    Sampled,
    VesselDone,
    VesselFailed,
    VesselStarted,
)
from bulkmig.generate import FleetSpec, generate_fleet
from bulkmig.ledger import schema
from bulkmig.monitor import page, serve
from bulkmig.monitor.board import Board
from bulkmig.monitor.history import shortened
from bulkmig.monitor.web import changes
from bulkmig.preflight import target_only

ROOT = Path(__file__).parents[2]
SECRET = "a-secret-that-is-long-enough"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.body)
        return found


def ask(url: str, path: str, *, method: str = "GET", **headers: str) -> Answer:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        names = {key.lower(): value for key, value in answer.getheaders()}
        stream = names.get("content-type", "").startswith("text/event-stream")
        return Answer(answer.status, names, answer.readline() if stream else answer.read())
    finally:
        connection.close()


def board() -> Board:
    made = Board()
    for event in (
        RunStarted("migrate", "0c5b7e9a", 3, 0, verifies=True),
        FleetListed(tuple(Due(f"v{i}", f"MV {i}", None, 10) for i in range(3))),
        PhaseStarted("vessels", 3),
        VesselStarted("v0", "MV 0"),
        VesselDone("v1", "MV 1", "migrated", 500, 2.5, warnings=4),
        VesselFailed("v2", "MV 2", "load", "unique value taken"),
        Retrying("vessel v0", 1, "deadlock"),
        Sampled(1, 1000, 2000, 3000),
    ):
        made.hear(event)
    return made


@pytest.fixture
def settings(maintenance_url: str, onboarding_url: str) -> Settings:
    return Settings(source=onboarding_url, target=maintenance_url)


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with serve.serving(serve.place("127.0.0.1:0"), settings, board()) as where:
        yield where


def test_it_answers_this_machine_under_its_own_names_only(url: str) -> None:
    port = urlsplit(url).port
    assert ask(url, "/").status == 200
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", "localhost", "127.0.0.5:80"):
        assert ask(url, "/api/state", Host=host).status == 200, host
    for host in (f"evil.example.org:{port}", "192.0.2.7", f"localhost.example.org:{port}", ""):
        assert ask(url, "/api/state", Host=host).status == 403, host


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/", "/api/state", "/api/runs/x", "/metrics", "/events"])
def test_it_can_only_be_read(url: str, method: str, path: str) -> None:
    assert ask(url, path, method=method).status == 405


def test_every_answer_keeps_the_page_to_itself(url: str) -> None:
    for path in ("/", "/app.js", "/api/state", "/nothing", "/metrics"):
        headers = ask(url, path).headers
        assert headers["content-security-policy"] == page.POLICY
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert "http" not in re.sub(r"http-equiv", "", page.asset("index.html").decode())


def test_off_loopback_a_token_is_wanted(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    where = serve.place("0.0.0.0:0")
    assert len(where.token) >= 20
    assert serve.place("0.0.0.0:0").token != where.token
    assert serve.place("127.0.0.1:1").token == serve.place("[::1]:1").token == ""
    monkeypatch.setenv(serve.TOKEN, SECRET)
    with serve.serving(serve.place("0.0.0.0:0"), settings, board()) as printed:
        assert printed.endswith(f"/?token={SECRET}")
        url = printed.replace("0.0.0.0", "127.0.0.1")
        for path in ("/", "/api/state", "/metrics", "/app.js", "/events", "/?token=wrong"):
            assert ask(url, path).status == 401, path
        assert ask(url, "/healthz").status == 200
        assert ask(url, "/metrics", Authorization=f"Bearer {SECRET}").status == 200
        assert ask(url, "/metrics", Authorization=f"Bearer {SECRET}x").status == 401
        entered = ask(url, f"/?token={SECRET}")
        assert (entered.status, entered.headers["location"]) == (307, "/")
        cookie = entered.headers["set-cookie"]
        assert "httponly" in cookie.lower()
        assert "samesite=strict" in cookie.lower()
        assert ask(url, "/api/state", Cookie=cookie.partition(";")[0], Host="ship.example.org").status == 200


def test_a_host_that_names_another_path_opens_no_door(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(serve.TOKEN, SECRET)
    with serve.serving(serve.place("127.0.0.1:0"), settings, board()) as url:
        for host in ("x/healthz?", "x/healthz#", "[", "[::1"):
            assert ask(url, "/api/state", Host=host).status == 401, host


def test_the_url_that_is_printed_opens_whatever_the_token_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for token in ("b+a/s=e64", 'two words;&#%22"'):
        monkeypatch.setenv(serve.TOKEN, token)
        with serve.serving(serve.place("127.0.0.1:0"), settings, board()) as url:
            entered = ask(url, f"/?{urlsplit(url).query}")
            cookie = entered.headers["set-cookie"].partition("; ")[0]
            assert ask(url, "/api/state", Cookie=cookie).status == 200, token
    for token in ("ähnlich", "a\nb", "a\udcff"):
        monkeypatch.setenv(serve.TOKEN, token)
        with pytest.raises(UsageError, match=serve.TOKEN):
            serve.place("127.0.0.1:0")


@pytest.mark.parametrize("text", ["", "here", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        serve.place(text)


def test_an_address_that_is_taken_is_said(settings: Settings, url: str) -> None:
    taken = urlsplit(url).netloc
    with pytest.raises(UsageError, match="can't listen"), serve.serving(serve.place(taken), settings):
        pass


def test_the_json_is_what_the_board_has(url: str) -> None:
    state = ask(url, "/api/state").json()
    assert state["live"] is True
    run = state["run"]
    assert isinstance(run, dict)
    assert (run["done"], run["failed"], run["rows"], run["bound"]) == (1, 1, 500, 2000)
    assert ask(url, "/api/runs").json() == {"runs": []}
    assert ask(url, "/api/runs/0c5b").status == 404
    assert ask(url, "/events").body == b"event: state\n"


async def test_whatever_is_asked_for_as_a_run_the_ledger_is_well(settings: Settings) -> None:
    async with target_only(settings, needs_ledger=False) as target:
        await schema.upgrade(target)
    with serve.serving(serve.place("127.0.0.1:0"), settings) as url:
        for run in ("x", "%00", "%ed%a0%80", "%25"):
            assert ask(url, f"/api/runs/{run}").status == 404
            assert ask(url, "/healthz").status == 200


def metrics(url: str) -> dict[str, dict[tuple[str, ...], float]]:
    text = ask(url, "/metrics").body.decode()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def test_the_metrics_are_those_of_the_monitor(url: str) -> None:
    found = metrics(url)
    present = {state: n for (state,), n in found["bulkmig_vessels"].items() if n}
    assert present == {"in_progress": 1, "completed": 1, "failed": 1}
    assert found["bulkmig_vessel_average_seconds"] == {(): 2.5}
    assert found["bulkmig_vessel_duration_seconds_count"] == {(): 1}
    assert found["bulkmig_recent_errors"] == {("load",): 1, ("retry",): 1}
    assert found["bulkmig_run_info"] == {("migrate", "0c5b7e9a", "running"): 1}
    assert found["bulkmig_rows_total"] == {(): 500}


async def test_documentation_and_grafana_name_the_metrics_that_there_are(
    settings: Settings, onboarding_url: str
) -> None:
    await generate_fleet(onboarding_url, FleetSpec(seed=2, vessels=2, equipment=20, nasty=0.3, least=0))
    live = Board()
    with serve.serving(serve.place("127.0.0.1:0"), settings, live) as url:
        quarantining = Settings(source=settings.source, target=settings.target, on_error="quarantine")
        await migrate(quarantining, Selection(all=True), listen=live.hear)
        live.hear(Retrying("vessel", 1, "deadlock"))
        exposed = {re.sub(r"_(sum|count)$", "", name) for name in metrics(url)}
    reference = (ROOT / "docs/reference.md").read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
    documented = set(re.findall(r"`(bulkmig_\w+)`", reference))
    left = {"bulkmig_run_left_seconds"}  # only while there is something left
    assert documented == exposed | left
    panels = json.loads(page.asset("grafana.json"))["panels"]
    used = {n for p in panels for t in p["targets"] for n in re.findall(r"bulkmig_\w+", t["expr"])}
    assert {re.sub(r"_(sum|count)$", "", name) for name in used} <= documented


def test_health_tells_whether_the_ledger_can_be_read(settings: Settings) -> None:
    with serve.serving(serve.place("127.0.0.1:0"), settings) as url:
        assert ask(url, "/healthz").status == 200
    nowhere = Settings(source=settings.source, target="postgresql://127.0.0.1:1/none")
    with serve.serving(serve.place("127.0.0.1:0"), nowhere, board()) as url:
        assert ask(url, "/healthz").status == 503
        assert "can't be read" in str(ask(url, "/api/state").json()["error"])
        assert ask(url, "/api/runs/0c5b").status == 503


def test_a_change_holds_only_what_is_new() -> None:
    before = {"run": {"done": 1}, "findings": [1], "vessels": [{"id": "a", "n": 1}, {"id": "b", "n": 1}]}
    now = {"run": {"done": 2}, "findings": [1], "vessels": [{"id": "a", "n": 1}, {"id": "b", "n": 2}]}
    assert changes(before, now) == {"run": {"done": 2}, "vessels": [{"id": "b", "n": 2}]}
    assert changes(now, now) == {"vessels": []}


def test_a_page_alone_has_its_data_and_no_tag_can_begin_in_it() -> None:
    text = page.alone({"run": None, "vessels": [{"name": "</script><script>alert(1)//<!--"}]})
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert json.loads(data)["vessels"][0]["name"].startswith("</script>")
    assert "alert(1)" in data
    assert not re.search(r'(src|href)="(?!#|data:)', text)


def test_addresses_of_operators_are_shortened() -> None:
    assert shortened("by karen@example.org, for X") == "by k…@example.org, for X"
    assert shortened("root") == "root"
