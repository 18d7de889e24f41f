import time

from tests.model.mirror import Mirror
from tests.model.rules import Hits
from tests.model.session import Session


async def test_smoke(onboarding_url: str, maintenance_url: str) -> None:
    mirror = Mirror(onboarding_url, maintenance_url)
    await mirror.open()
    hits = Hits()
    s = Session(mirror, hits, "quarantine")
    t = time.time()
    await s.begin()
    print("begin", time.time() - t)
    t = time.time()
    await s.check()
    print("check", time.time() - t)
    t = time.time()
    one = sorted(s.onboarding.of["vessels"])[0]
    await s.migrate(frozenset({one}))
    print("migrate", time.time() - t)
    t = time.time()
    await s.migrate(None)
    print("migrate", time.time() - t)
    t = time.time()
    while s.history.changes:
        live = [
            c
            for v in {c.vessel for c in s.history.changes}
            for c in s.history.in_force(v)
            if c.restored is None
        ]
        if not live:
            break
        live.sort(key=lambda c: -s.history.changes.index(c))
        await s.rollback(live[0], force=False)
        print("rollback", time.time() - t)
        t = time.time()
    print(hits.counted)
    await mirror.close()
