"""The attacks, by a project at 127.0.0.1."""

import gzip
import json
import socket
import subprocess
import sys
import threading
import time
import uuid
import zlib

from .behaved import EVENT
from .client import Client, head
from .weir import ADDRESSES

BOMB = 100 << 20  # bytes, decompressed
MEMBERS = 5_000_000  # bytes of empty ones
RANGE = "from=2024-01-01&to=2024-12-31"


def bombs():
    """A hundred megabytes of spaces in each encoding that this machine has a program for; Python has two."""
    plain = b"[" + b" " * BOMB + b"]"
    made = {"deflate": zlib.compress(plain, 9)}
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    made["gzip"] = compressor.compress(plain) + compressor.flush()
    for encoding, command in [("br", ["brotli", "--stdout", "-q", "5"]), ("zstd", ["zstd", "--stdout", "-q", "-3"])]:
        try:
            made[encoding] = subprocess.run(command, input=plain, stdout=subprocess.PIPE, check=True).stdout
        except FileNotFoundError:
            print(f"siege: {command[0]} is not installed, so there is no bomb of {encoding}", file=sys.stderr)
    return made


def repeat(target, threads, stop):
    """Runs `target(number)` in threads, again and again, until told to stop."""

    def loop(number):
        while not stop.is_set():
            target(number)

    started = [threading.Thread(target=loop, args=(number,), daemon=True) for number in range(threads)]
    for thread in started:
        thread.start()
    return started


def attacks(address, key, read_key):
    """Each as name, number of threads, and function of a thread's number that attacks once; and the answers so far."""
    statuses = {}
    made = bombs()
    clients = {}

    def count(attack, status):
        statuses.setdefault(attack, {}).setdefault(status, 0)
        statuses[attack][status] += 1

    def client(number):
        return clients.setdefault((threading.get_ident(), number), Client(address))

    def bomb(encoding):
        def once(number):
            data = made[encoding]
            count(
                f"bomb {encoding}",
                client(number).send(head("/events", key, len(data), Content_Encoding=encoding) + data),
            )

        return once

    def slow(_):
        host, port = address.split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head("/events", key, 1_000))
            connection.settimeout(1)
            for _ in range(40):
                try:
                    connection.sendall(b" ")
                    answer = connection.recv(100)
                    count("slow senders", int(answer.split(b" ")[1]) if answer else 0)
                    return
                except TimeoutError:
                    pass
                except OSError:
                    count("slow senders", 0)
                    return

    def unknown(number):
        body = json.dumps(EVENT).encode()
        count("unknown keys", client(number).send(head("/events", f"weir_wk_{uuid.uuid4().hex}", len(body)) + body))

    large = json.dumps([EVENT | {"properties": {"path": "/" * 900}}] * 5_000).encode()

    def large_body(number):
        count("large bodies", client(number).send(head("/events", key, len(large)) + large))

    batch = json.dumps([EVENT] * 100).encode()

    def flood(number):
        count("flood over the rate", client(number).send(head("/events", key, len(batch)) + batch))

    nothing = gzip.compress(b"", 9)
    members = nothing * (MEMBERS // len(nothing)) + gzip.compress(json.dumps([EVENT]).encode())

    def empty_members(number):
        count(
            "gzip members", client(number).send(head("/events", key, len(members), Content_Encoding="gzip") + members)
        )

    segments = "".join(f"&segment=properties.price:{price}" for price in range(50))
    heavy = f"/stats/timeseries?{RANGE}&breakdown=properties.page{segments}"

    def abandon(_):
        host, port = address.split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head(heavy, read_key, 0, "GET"))
            connection.settimeout(0.25)
            try:
                count("abandoned questions", int(connection.recv(100).split(b" ")[1]))
            except (OSError, IndexError):
                count("abandoned questions", 0)

    def large_values(number):
        path = f"/stats/timeseries?{RANGE}&breakdown=properties.large&format=csv"
        count("large values", client(number).send(head(path, read_key, 0, "GET")))

    held = []

    def hold(attack, most, data):
        """Opens connections and says no more."""

        def once(_):
            if len(held) >= most:
                return time.sleep(0.1)
            host, port = address.split(":")
            try:
                connection = socket.create_connection((host, int(port)), timeout=5)
                connection.sendall(data)
                held.append(connection)
                count(attack, "held")
            except OSError:
                count(attack, 0)
                time.sleep(0.01)

        return once

    unread = head("/openapi.json", None, 0, "GET") * 50
    listed = [(f"bomb {encoding}", 8, bomb(encoding)) for encoding in made]
    listed += [
        ("gzip members", 8, empty_members),
        ("large bodies", 8, large_body),
        ("slow senders", 500, slow),
        ("unknown keys", 8, unknown),
        ("flood over the rate", 16, flood),
        ("abandoned questions", 100, abandon),
        ("large values", 8, large_values),
        ("idle connections", 4, hold("idle connections", 10_050, b"")),
        ("readers that do not read", 4, hold("readers that do not read", 300, unread)),
    ]

    def forget():
        """Closes what is held."""
        while held:
            held.pop().close()

    return listed, statuses, forget


def seed(weir):
    """Gives the attacking project what its questions read."""
    weir.weir("import", "tests/data/shop_clickstream.csv.gz", "--project", "bad")
    client, (key, _) = Client(ADDRESSES[0]), weir.keys["bad"]
    large = {"properties": {"large": [1e300] * 6_000}, "occurred_at": "2024-03-01T00:00:00Z"}
    for _ in range(2):
        body = json.dumps([EVENT | large]).encode()
        client.send(head("/events", key, len(body)) + body)
    client.close()
