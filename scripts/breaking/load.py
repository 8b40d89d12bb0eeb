"""Senders that behave as an SDK does, and a ledger of what they were told."""

import hashlib
import http.client
import json
import random
import signal
import threading
import time
import uuid
from collections import Counter

from .world import until

WEIR = uuid.UUID(int=0x7765_6972_2D65_7665_6E74_2D69_642D_7631)
DAY = 86_400
PROJECTS = 8
SENDERS = 2  # of each project; the first project has three times as many
CHANNELS = ["email", "ads", 1, 1.0, None]


class Project:
    def __init__(self, world, number):
        self.world = world
        self.name = f"project-{number}"
        self.renamed = 0
        self.promoted = False
        zone = "Asia/Kolkata" if number % 2 else "UTC"
        world.weir("project", "create", self.name, "--timezone", zone)
        self.id = int(world.psql(f"select project_id from projects where name = '{self.name}'"))
        self.write, self.admin = self.key("write"), self.key("admin")
        # Python's uuid5 takes text alone, and this name is bytes.
        digest = hashlib.sha1(WEIR.bytes + self.id.to_bytes(4, "big", signed=True)).digest()
        self.namespace = uuid.UUID(bytes=digest[:16], version=5)

    def key(self, kind):
        return self.world.weir("key", "create", "--project", self.name, "--kind", kind)

    def stored_id(self, text):
        try:
            return uuid.UUID(text)
        except ValueError:
            return uuid.uuid5(self.namespace, text)

    def rename(self):
        self.renamed += 1
        name = f"{self.name.split('_')[0]}_{self.renamed}"
        self.world.weir("project", "set", self.name, "--name", name)
        self.name = name

    def promote(self):
        """Promotes a property, and does not wait until it is ready; the next time that is taken back."""
        self.promoted = not self.promoted
        if not self.promoted:
            self.world.weir("project", "demote", self.name, "properties.channel")
            return
        promoting = self.world.start_weir("project", "promote", self.name, "properties.channel")
        count = f"select count(*) from promoted_properties where project_id = {self.id}"
        until(lambda: self.world.psql(count).strip() == "1", f"a property of {self.name} is promoted")
        promoting.send_signal(signal.SIGINT)
        promoting.wait()

    def replace_key(self):
        """The old key is revoked first: senders meet a 401 until they have the new one."""
        old = self.world.psql(
            f"select min(key_id) from api_keys where project_id = {self.id} and kind = 'write' and revoked_at is null"
        )
        self.world.weir("key", "revoke", "--project", self.name, old.strip())
        time.sleep(0.5)
        self.write = self.key("write")


class Ledger:
    """What must be stored, and what must not. Ids are numbers, which take little memory."""

    def __init__(self):
        self.lock = threading.Lock()
        self.stored = set()  # answered as accepted or duplicate
        self.fresh = set()  # of these, the ones since the last check
        self.refused = set()  # answered as rejected, or of a user who was deleted
        self.sent = self.accepted = self.duplicates = self.rejected = 0
        self.statuses = Counter()

    def add(self, stored, refused, answer):
        with self.lock:
            self.stored |= stored
            self.fresh |= stored
            self.refused |= refused
            self.sent += len(stored) + len(refused)
            self.accepted += answer["accepted"]
            self.duplicates += answer["duplicates"]
            self.rejected += len(answer["rejected"])

    def forget(self, ids):
        with self.lock:
            self.stored -= ids
            self.fresh -= ids
            self.refused |= ids


class Sender(threading.Thread):
    """Sends batches, each until it has a definite answer. With even numbers, events have another time with each try."""

    def __init__(self, load, project, number):
        super().__init__(daemon=True)
        self.load, self.project, self.number = load, project, number
        self.random = random.Random(f"{load.seed}/{project.id}/{number}")
        self.users = [f"user-{n}" for n in range(200)]
        self.person = f"person-{number}"
        self.merged = 0
        self.of_person = set()  # ids of the person's events, as long as they were not deleted
        self.person_lock = threading.Lock()
        self.idle = threading.Event()
        self.connections = {}
        self.last = None

    def run(self):
        due = time.monotonic()
        while True:
            if not self.load.running.is_set():
                self.idle.set()
                self.load.running.wait()
                self.idle.clear()
                due = time.monotonic()
            size = self.turn()
            due += size / self.load.rate_of_sender
            # What could not be sent in time is not made up for in a flood.
            due = max(due, time.monotonic() - 0.5)
            time.sleep(max(0, due - time.monotonic()))

    def turn(self):
        kind = self.random.random()
        if self.last and kind < 0.05:
            batch, stored, refused = self.last  # a duplicate on purpose
            self.deliver(self.stamped(batch), set(), set())
            return len(batch)
        if kind < 0.15:
            with self.person_lock:
                batch = [{**self.event(self.person), "user_id": self.person} for _ in range(5)]
                ids = {self.project.stored_id(event["event_id"]).int for event in batch}
                self.deliver(batch, ids, set())
                self.of_person |= ids
            return len(batch)
        batch = [self.event(self.random.choice(self.users)) for _ in range(self.random.choice([1, 10, 50, 100, 200]))]
        stored = {self.project.stored_id(event["event_id"]).int for event in batch}
        refused = set()
        if kind > 0.9:
            wrong = {**self.event("nobody"), "user_id": "x" * 300}
            refused = {self.project.stored_id(wrong["event_id"]).int}
            batch.insert(self.random.randrange(len(batch) + 1), wrong)
        self.deliver(batch, stored, refused)
        self.last = (batch, stored, refused)
        return len(batch)

    def event(self, user_id):
        draw = self.random.random()
        text = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        event = {
            "event_id": text if draw > 0.1 else f"order/{text}",
            "event_type": f"type-{self.random.randrange(5)}",
            "properties": {"path": "/", "amount": self.random.randrange(100)},
        }
        if draw < 0.8:
            event["properties"]["channel"] = self.random.choice(CHANNELS)
        if draw < 0.95:
            event["user_id"] = user_id
        if draw > 0.3:
            ago = self.random.random() * (30 * DAY if draw > 0.9 else 60)
            at = time.time() - ago
            event["occurred_at"] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e6):06}Z"
        return event

    def stamped(self, batch):
        """As it is sent again: every other sender corrects its clock, and stamps its events anew."""
        if self.number % 2:
            return batch
        moved = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - self.random.random() * 60))
        return [
            {**event, "occurred_at": f"{moved}.{at:06}Z"} if "occurred_at" in event else event
            for at, event in enumerate(batch)
        ]

    def deliver(self, batch, stored, refused):
        pause = 0.05
        while True:
            answer = self.post(json.dumps(batch))
            if answer is not None:
                break
            batch = self.stamped(batch)
            time.sleep(pause * self.random.uniform(0.5, 1.5))
            pause = min(pause * 2, 1.0)
        told = {error["event_id"] for error in answer["rejected"]}
        if len(told) != len(refused) and stored:
            self.load.failed(f"{len(told)} events of a batch were refused, {len(refused)} are invalid: {answer}")
        self.load.ledger.add(stored, refused, answer)

    def post(self, body):
        """The answer to a batch; nothing if it must be sent again."""
        address = self.load.addresses[self.random.randrange(len(self.load.addresses))]
        headers = {"Content-Type": "application/json", "X-API-Key": self.project.write}
        try:
            connection = self.connections.setdefault(address, http.client.HTTPConnection(address, timeout=5))
            connection.request("POST", "/events", body, headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException):
            self.connections.pop(address).close()
            self.count("broken")
            return None
        self.count(response.status)
        if response.status in (200, 202):
            answer = json.loads(text)
            if "status" in answer:  # of a single event
                accepted = answer["status"] == "accepted"
                return {"accepted": int(accepted), "duplicates": int(not accepted), "rejected": []}
            return answer
        if response.status in (401, 408, 429) or response.status >= 500:
            return None
        self.load.failed(f"an answer that no SDK can use: {response.status} {text[:500]}")
        return None

    def count(self, status):
        with self.load.ledger.lock:
            self.load.ledger.statuses[status] += 1

    def delete_person(self):
        """Deletes the person, who sends nothing meanwhile; and sends on as a new one."""
        with self.person_lock:
            self.manage("DELETE", f"/users/{self.person}")
            self.load.ledger.forget(self.of_person)
            self.of_person = set()

    def merge_person(self):
        """The person turns out to be one of the users, and sends on under another name."""
        with self.person_lock:
            self.manage("POST", "/merges", {"from": self.person, "into": self.random.choice(self.users)})
            self.merged += 1
            self.person = f"person-{self.number}-{self.merged}"
            self.of_person = set()

    def manage(self, method, path, body=None):
        """Asks until it is answered."""
        headers = {"X-API-Key": self.project.admin, "Content-Type": "application/json"}
        while True:
            connection = http.client.HTTPConnection(self.load.addresses[0], timeout=5)
            try:
                connection.request(method, path, body and json.dumps(body), headers)
                if connection.getresponse().status in (200, 202):
                    return
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            time.sleep(0.2)


class Load:
    def __init__(self, world, rate, seed):
        self.seed = seed
        self.ledger = Ledger()
        self.running = threading.Event()
        self.addresses = [world.address("api", number) for number in range(2)]
        self.projects = [Project(world, number) for number in range(PROJECTS)]
        self.senders = [
            Sender(self, project, number)
            for at, project in enumerate(self.projects)
            for number in range(SENDERS * 3 if at == 0 else SENDERS)
        ]
        self.rate = rate
        self.failure = None
        for sender in self.senders:
            sender.start()

    @property
    def rate_of_sender(self):
        return self.rate / len(self.senders)

    def failed(self, text):
        self.failure = self.failure or text

    def go(self):
        self.running.set()

    def pause(self, seconds=120):
        """Waits until every batch has its answer."""
        self.running.clear()
        for sender in self.senders:
            if not sender.idle.wait(seconds):
                raise RuntimeError("a batch has no answer, though everything is up")
