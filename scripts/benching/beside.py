"""What heavy questions do to those who send: events come at a steady rate, with nobody asking, and while ten
questions at once read the events themselves of all days."""

import collections
import http.client
import json
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from .load import Tools, served
from .results import Criterion, number, table
from .servers import say

ASKING = ["UA", "PL", "DE", "FR", "GB", "US", "BR", "IN", "JP", "CA"]  # each its own question, of a country
PATH = "/stats/dau?from={first}&to={to}&segment=properties.country:%s"
SIZE = 100  # events in a request
RATE = 150  # requests a second: 15,000 events, a tenth of what two cores store
LOAD = {"events": SIZE, "rate": RATE, "connections": 64, "warm_up": "1s", "duration": "20s"}
ROUNDS = 3
MOST = 2  # times the p99 of nobody asking


def measure(weir, names):
    say("sends events, alone and beside ten questions to events")
    with weir.worker(), weir.guest() as (key, sent):
        rounds = [round_of(weir, key, sent, PATH.format(**names)) for _ in range(ROUNDS)]
    answers = [answer for *_, answers in rounds for answer in answers]
    return {
        "alone": statistics.median(alone for alone, *_ in rounds),
        "beside": statistics.median(beside for _, beside, _ in rounds),
        "ratio": statistics.median(beside / alone for alone, beside, _ in rounds),
        "question": statistics.median(took for took, _ in answers),
        "answers": collections.Counter(status for _, status in answers),
    }


def round_of(weir, key, sent, path):
    """p99 in milliseconds, alone and beside questions; and these, see `ask_on`."""

    def send():
        report = served(Tools(weir.build).load(weir.port, [key], **LOAD))
        sent.append(report["in_all"]["stored_at_least"])
        return report["latency_ms"]["p99"]

    alone, ended = send(), threading.Event()
    with ThreadPoolExecutor(len(ASKING)) as asking:
        asked = [asking.submit(ask_on, weir, path % country, ended) for country in ASKING]
        try:
            beside = send()
        finally:
            ended.set()
        return alone, beside, [answer for of_one in asked for answer in of_one.result()]


def ask_on(weir, path, ended):
    """Asks again and again; how long each answer took, and its status."""
    connection, answers = http.client.HTTPConnection("127.0.0.1", weir.port, timeout=600), []
    while not ended.is_set():
        begun = time.perf_counter()
        connection.request("GET", path, headers={"X-API-Key": weir.key})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        answers.append((time.perf_counter() - begun, body.get("code", answer.status)))
    return answers


def show(result, millions):
    rows = [
        [
            f"p99, ms, at {RATE * SIZE:,} events a second",
            number(result["alone"], 2),
            number(result["beside"], 2),
            number(result["ratio"], 2),
        ]
    ]
    answers = ", ".join(f"{times} x {answer}" for answer, times in result["answers"].items())
    table(
        f"Ten questions at once to {millions:g} million events"
        f" (an answer took {number(result['question'], 1)} s; {answers})",
        ["", "nobody asks", "ten ask", "ratio"],
        rows,
    )


def criterion(result, millions):
    name = f"p99 of sending beside ten questions to {millions:g} million events, to alone"
    return Criterion(name, "", result["ratio"], most=MOST)
