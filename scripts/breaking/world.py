"""Servers of their own, on a disk of their own, and weir's processes in network namespaces of their own."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAME = f"faults-{secrets.token_hex(4)}"  # process ids are of a namespace, and repeat
INSTANCES = 2
SERVERS = ["postgres", "redis", "nats"]
APPS = ["api", "worker"]
# struct file_system shutdown: the kernel drops what is not written, and refuses all writes from then on.
SHUTDOWN, WITHOUT_FLUSHING = 0x8004587D, 2
DISK = 16 << 30  # sparse; NATS takes three quarters of it for streams


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run(*command, check=True, **options):
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def until(condition, what, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, RuntimeError):
            if value := condition():
                return value
        time.sleep(0.1)
    raise RuntimeError(f"waited in vain for: {what}")


class World:
    def __init__(self, binaries, database, stream_bytes, isolated):
        self.binaries = binaries
        self.isolated = isolated
        self.own_database = database is None
        self.stream_bytes = stream_bytes
        self.directory = os.path.join(ROOT, ".stack", NAME)
        self.logs = os.path.join(ROOT, ".stack", f"{NAME}-logs")
        self.image = self.directory + ".img"
        self.processes = {}
        self.started = 0
        os.makedirs(self.directory)
        os.makedirs(self.logs)
        self.partitions = isolated and shutil.which("nft") is not None
        self.power = self.make_disk()
        run("scripts/stack", "up", "--name", NAME, "--ports", "free")
        os.sync()  # scripts/stack has noted the ports, and does not sync
        lines = run("scripts/stack", "env", "--name", NAME).splitlines()
        self.urls = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        self.database = self.urls["DATABASE_URL"]
        if database:
            self.database = f"{database.rsplit('/', 1)[0]}/{NAME.replace('-', '_')}"
            self.psql(f"create database {NAME.replace('-', '_')}", url=database)
        self.ports = {
            server: int(self.urls[name].split(":")[2].split("/")[0])
            for server, name in {"postgres": "DATABASE_URL", "redis": "REDIS_URL", "nats": "NATS_URL"}.items()
        }
        if isolated:
            self.make_network()
        self.weir("migrate")
        self.start_apps()

    # --- The disk

    def make_disk(self):
        """An ext4 file system in a file, whose loss of power can be played; whether that works here."""
        if not self.isolated:
            return False
        try:
            self.mount(make=True)
        except RuntimeError as error:
            say(f"no disk of its own, so no loss of power: {error}")
            return False
        return self.loses_what_is_not_synced()

    def mount(self, make=False):
        if make:
            with open(self.image, "wb") as image:
                image.truncate(DISK)
            run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", self.image)
        run("mount", "-o", "loop", self.image, self.directory)

    def cut_power(self):
        disk = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.ioctl(disk, SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING))
        finally:
            os.close(disk)

    def remount(self):
        until(self.unmount, "the disk is free")
        # Processes that are still dying have it mounted too: the file would be found in use, in its state of shutdown.
        until(lambda: not run("losetup", "--associated", self.image), "nobody has the disk")
        self.mount()

    def unmount(self):
        return subprocess.run(["umount", self.directory], check=False, capture_output=True).returncode == 0

    def loses_what_is_not_synced(self):
        """The proof that a loss of power is one: what was synced is there afterwards, what was not is gone."""

        def write(name, sync):
            with open(os.path.join(self.directory, name), "w") as file:
                file.write("x" * 10_000)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())

        write("synced", True)
        disk = os.open(self.directory, os.O_RDONLY)
        os.fsync(disk)
        os.close(disk)
        write("not-synced", False)
        try:
            self.cut_power()
        except OSError as error:
            say(f"this kernel plays no loss of power: {error}")
            return False
        self.remount()

        def size(name):
            return os.path.getsize(os.path.join(self.directory, name)) if name in os.listdir(self.directory) else 0

        if size("synced") != 10_000 or size("not-synced") != 0:
            raise RuntimeError("the disk does not lose what was not synced, and nothing else")
        for name in ("synced", "not-synced"):
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(self.directory, name))
        return True

    # --- The network

    def make_network(self):
        """A namespace for each of api and worker, linked to this one, where the servers are."""
        run("ip", "link", "set", "lo", "up")
        os.makedirs("/run/netns", exist_ok=True)
        run("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
        pairs = []
        for number, app in enumerate(APPS, 1):
            here, there = f"10.77.{number}.1", f"10.77.{number}.2"
            run("ip", "netns", "add", app)
            run("ip", "link", "add", f"to-{app}", "type", "veth", "peer", "name", "eth0", "netns", app)
            run("ip", "address", "add", f"{here}/24", "dev", f"to-{app}")
            run("ip", "link", "set", f"to-{app}", "up")
            inside = ["ip", "netns", "exec", app, "ip"]
            run(*inside, "address", "add", f"{there}/24", "dev", "eth0")
            run(*inside, "link", "set", "eth0", "up")
            run(*inside, "link", "set", "lo", "up")
            pairs += [f"{here}:{port}=127.0.0.1:{port}" for port in self.ports.values()]
        self.forwarder = subprocess.Popen(
            [sys.executable, os.path.join(os.path.dirname(__file__), "forward.py"), *pairs]
        )
        if self.partitions:
            for chain, hook in (("into", "input"), ("out", "output")):
                run("nft", "add", "table", "inet", "faults")
                run("nft", "add", "chain", "inet", "faults", chain, f"{{ type filter hook {hook} priority 0; }}")

    def partition(self, app, server):
        address, port = f"10.77.{APPS.index(app) + 1}.2", str(self.ports[server])
        run("nft", "add", "rule", "inet", "faults", "into", "ip", "saddr", address, "tcp", "dport", port, "drop")
        run("nft", "add", "rule", "inet", "faults", "out", "ip", "daddr", address, "tcp", "sport", port, "drop")

    def heal(self):
        for chain in ("into", "out"):
            run("nft", "flush", "chain", "inet", "faults", chain)

    # --- Processes

    def environment(self, app):
        host = f"10.77.{APPS.index(app) + 1}.1" if self.isolated else "127.0.0.1"
        urls = {
            name: url.replace("127.0.0.1", host) for name, url in {**self.urls, "DATABASE_URL": self.database}.items()
        }
        return {
            **urls,
            "WEIR_ACK_WAIT": "5s",
            "WEIR_PUBLISH_TIMEOUT": "1s",
            "WEIR_STREAM_MAX_BYTES": self.stream_bytes,
            "LOG_LEVEL": "warn",
            "RUST_BACKTRACE": "0",
        }

    def address(self, app, number):
        host = f"10.77.{APPS.index(app) + 1}.2" if self.isolated else "127.0.0.1"
        return f"{host}:{18_800 + 10 * APPS.index(app) + number}"

    def start_apps(self):
        """Starts what does not run, and waits until all serve."""
        for app in APPS:
            for number in range(INSTANCES):
                process = self.processes.get((app, number))
                if process is None or process.poll() is not None:
                    self.start_app(app, number)
        for app in APPS:
            for number in range(INSTANCES):
                url = f"http://{self.address(app, number)}/ready"
                until(lambda url=url: urllib.request.urlopen(url, timeout=2).status == 200, f"{app} {number} is ready")

    def start_app(self, app, number):
        command = (
            [os.path.join(self.binaries, "weir"), "serve"]
            if app == "api"
            else [os.path.join(self.binaries, "weir-worker")]
        )
        if self.isolated:
            command = ["ip", "netns", "exec", app, *command]
        listen = "WEIR_HTTP_ADDR" if app == "api" else "WEIR_WORKER_HTTP_ADDR"
        environment = {**self.environment(app), listen: self.address(app, number), "PATH": os.environ["PATH"]}
        with open(os.path.join(self.logs, f"{app}-{number}.log"), "a") as log:
            self.processes[app, number] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def command(self, *arguments):
        """A command of weir, and the environment in which an operator gives it."""
        environment = {**self.environment("api"), **self.urls, "DATABASE_URL": self.database}
        return [os.path.join(self.binaries, "weir"), *arguments], environment

    def weir(self, *arguments):
        command, environment = self.command(*arguments)
        return run(*command, env=environment).strip()

    def start_weir(self, *arguments):
        command, environment = self.command(*arguments)
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def pids(self, part):
        """The processes of a part: of a server all of them, of api and worker both instances."""
        if part in APPS:
            return [
                process.pid for (app, _), process in self.processes.items() if app == part and process.poll() is None
            ]
        with open(os.path.join(self.directory, "run", f"{part}.pid")) as file:
            parent = int(file.read().split()[0])
        children = run("ps", "-o", "pid=", "--ppid", str(parent), check=False).split()
        return [parent, *map(int, children)]

    def signal(self, part, which, one=None):
        pids = self.pids(part)
        for pid in pids if one is None else pids[one % len(pids) :][:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, which)

    def start_servers(self):
        # One that was stopped when its parent was killed would never end. This namespace has nobody else's processes.
        run("pkill", "-CONT", "postgres", check=False)
        run("scripts/stack", "up", "--name", NAME)

    def wait_for(self, app):
        for number in range(INSTANCES):
            self.processes[app, number].wait()

    def lose_stream(self):
        """NATS ends, and its directory is gone."""
        pids = self.pids("nats")
        self.signal("nats", signal.SIGKILL)
        until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "NATS has ended")
        shutil.rmtree(os.path.join(self.directory, "nats"))

    def lose_power(self):
        pids = [pid for part in SERVERS + APPS for pid in self.pids(part)]
        self.cut_power()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.processes.values():
            process.wait()
        self.remount()

    def memory(self, app, number):
        """In MB."""
        with open(f"/proc/{self.processes[app, number].pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

    # --- Asking

    def psql(self, statement, url=None):
        return run(
            "scripts/stack",
            "psql",
            "--name",
            NAME,
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            url or self.database,
            "-c",
            statement,
        )

    def stream(self, which):
        """What JetStream says of a stream, over its own protocol: one question, one answer."""
        with socket.create_connection(("127.0.0.1", self.ports["nats"]), timeout=5) as nats:
            file = nats.makefile("rwb")
            question = f"$JS.API.STREAM.INFO.weir-{which}"
            file.write(f'CONNECT {{"verbose":false}}\r\nSUB answer 1\r\nPUB {question} answer 0\r\n\r\n'.encode())
            file.flush()
            for line in file:
                if line.startswith(b"MSG"):
                    return json.loads(file.read(int(line.split()[-1])))["state"]
        raise OSError("NATS has ended the connection")

    def end(self, keep):
        for process in self.processes.values():
            process.kill()
        if not self.own_database:
            with contextlib.suppress(RuntimeError):
                server = f"{self.database.rsplit('/', 1)[0]}/weir"
                self.psql(f"drop database {self.database.rsplit('/', 1)[1]} with (force)", url=server)
        run("scripts/stack", "down", "--name", NAME, check=False)
        if keep:
            say(f"logs are in {self.logs}, the data in {self.image if self.power else self.directory}")
            return
        subprocess.run(["umount", self.directory], check=False, capture_output=True)
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.rmtree(self.logs, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.image)
