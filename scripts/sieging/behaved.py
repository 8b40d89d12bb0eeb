"""A well-behaved client, as a process: threads of one process would wait for each other."""

import json
import sys
import threading
import time
import uuid

from .client import Client, head

EVENT = {"user_id": "anna", "event_type": "page_view", "properties": {"path": "/"}}
SOURCE = "127.0.0.2"  # attackers are at 127.0.0.1
QUESTION = "/stats/dau?from=2026-01-01&to=2026-03-31"


def on_time(seconds, interval, send):
    """Latencies, sorted, each from when it was due: whether the last answer was late or not."""
    taken, failed, begun = [], 0, time.monotonic()
    due = begun
    while due - begun < seconds:
        time.sleep(max(0, due - time.monotonic()))
        failed += not send()
        taken.append(time.monotonic() - due)
        due += interval
    taken.sort()
    return {"p50": taken[len(taken) // 2], "p99": taken[int(len(taken) * 0.99)], "failed": failed}


def main(address, write_key, read_key, seconds):
    """Sends ten events a hundred times a second, and asks ten times a second; prints both as JSON."""
    sender, asker, result = Client(address, SOURCE), Client(address, SOURCE), {}

    def send():
        body = json.dumps([EVENT | {"event_id": str(uuid.uuid4())} for _ in range(10)]).encode()
        return sender.send(head("/events", write_key, len(body)) + body) == 202

    def ask():
        return asker.send(head(QUESTION, read_key, 0, "GET")) == 200

    asking = threading.Thread(target=lambda: result.update(ask=on_time(float(seconds), 0.1, ask)))
    asking.start()
    result["send"] = on_time(float(seconds), 0.01, send)
    asking.join()
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
