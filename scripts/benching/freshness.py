"""How long it takes from an answer of 202 until `/stats/dau` counts the event, and how long answers take, while all
parts work at half of the end-to-end rate."""

import datetime
import http.client
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from . import latency, storing
from .servers import say

SIZE = 100  # events in a request
PATIENCE = 30
PAUSE = 0.002  # between two questions


def measure(bench):
    for number in range(bench.plan.rounds):
        say(f"freshness, round {number + 1} of {bench.plan.rounds}")
        for build in bench.builds:
            round_of(bench, build)


def round_of(bench, build):
    rate = peak(bench, build) / SIZE / 2
    with bench.weir(build, worker=True) as weir, ThreadPoolExecutor() as background:
        [project] = weir.take_projects(1)
        load = background.submit(latency.open_loop, bench, bench.load, weir, SIZE, rate)
        took = []
        while not load.done():
            took.append(probe(weir, project, len(took) + 1))
        weir.expect([project], {"stored_at_least": len(took), "stored_at_most": len(took)})
        latency.add(bench, "latency while storing", build.name, rate, load.result())
        bench.figures.add("freshness p50", build.name, sorted(took)[len(took) // 2])
        bench.figures.add("freshness max", build.name, max(took))


def peak(bench, build):
    """Events a second: the end-to-end rate that was measured before, or is now."""
    if bench.figures.median(storing.row(SIZE), build.name) is None:
        with bench.weir(build, worker=True) as weir:
            storing.store(bench, weir, SIZE, share=0)
    return bench.figures.median(storing.row(SIZE), build.name)


def probe(weir, project, number):
    """Sends an event of the project's `number`th user of the day; milliseconds until that many are counted."""
    now = datetime.datetime.now(datetime.UTC)
    event = {
        "event_id": str(uuid.uuid4()),
        "user_id": str(uuid.uuid4()),
        "event_type": "page_view",
        "occurred_at": now.isoformat(),
        "properties": {"path": "/"},
    }
    connection = http.client.HTTPConnection("127.0.0.1", weir.port, timeout=PATIENCE)

    def ask(key, method, path, body=None):
        connection.request(method, path, body, {"X-API-Key": key, "Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status not in (200, 202):
            raise RuntimeError(f"{path} was answered with {answer.status}: {text.decode()}")
        return json.loads(text)

    ask(project.write, "POST", "/events", json.dumps(event))
    accepted = time.monotonic()
    while ask(project.read, "GET", f"/stats/dau?from={now:%F}&to={now:%F}")["data"][0]["active_users"] < number:
        if time.monotonic() > accepted + PATIENCE:
            raise RuntimeError("an event that was accepted is not in the statistics")
        time.sleep(PAUSE)
    connection.close()
    return (time.monotonic() - accepted) * 1000
