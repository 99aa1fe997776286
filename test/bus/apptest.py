# SPDX-License-Identifier: MIT
"""What the tests of clusters and reloads share: apps that tell what they see, and clients that notice what is lost."""

import glob
import json
import os
import socket
import threading
import time
import urllib.request

from pmdtest import PATIENCE, wait_until

PROLOGUE = """
const fs = require('fs'), cluster = require('cluster'), dir = %r, instance = process.env.NODE_APP_INSTANCE;
function say(what, value) { fs.writeFileSync(`${dir}/.${what}.${instance}`, JSON.stringify(value === undefined ? null : value)); fs.renameSync(`${dir}/.${what}.${instance}`, `${dir}/${what}.${instance}`); }
process.on('disconnect', () => fs.appendFileSync(`${dir}/disconnects`, `${process.pid}\\n`));
const me = () => JSON.stringify({pid: process.pid, instance, id: cluster.worker && cluster.worker.id});
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def is_refused(port):
    with socket.socket() as s:
        s.settimeout(PATIENCE)
        return s.connect_ex(("127.0.0.1", port)) != 0


def daemon_pid(pm):
    with open(os.path.join(pm.env["PMD_HOME"], "run", "pmd.lock"), encoding="utf-8") as f:
        return int(f.read().strip() or 0)


def get(port, path="/"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as r:
        return r.read().decode()


class App:
    """A script in a directory of its own, to which its processes write what they have to say."""

    def __init__(self, pm, name, code, *options, instances=2, env=None, start=True):
        self.pm, self.name = pm, name
        self.dir = os.path.join(pm.dir, name)
        os.makedirs(self.dir, exist_ok=True)
        self.script = os.path.join(self.dir, f"{name}.js")
        self.change(code)
        count = ("-i", str(instances)) if instances else ()
        self.started = pm.run("start", self.script, "--name", name, *count, *options, **(env or {})) if start else None

    def change(self, code):
        """Its next version."""
        self.pm.write(f"{self.name}/{self.name}.js", PROLOGUE % self.dir + code)

    def heard(self, what):
        """instance → what it said"""
        result = {}
        for path in glob.glob(f"{self.dir}/{what}.*"):
            with open(path, encoding="utf-8") as f:
                result[int(path.rsplit(".", 1)[1])] = json.load(f)
        return result

    def wait(self, what, n=2):
        wait_until(lambda: len(self.heard(what)) >= n, f"{what} of {self.name}, from {n}, heard {self.heard(what)}")
        return [v for _, v in sorted(self.heard(what).items())]

    def forget(self, what):
        for path in glob.glob(f"{self.dir}/{what}.*"):
            os.unlink(path)

    def pids(self):
        return [p["pid"] for p in self.pm.jlist() if p["name"] == self.name]

    def all_pids(self):
        """Of all the processes that run the script, whoever knows of them."""
        return pids_with(self.script)

    def settles(self, n):
        """Until there are n processes, and no others."""
        wait_until(lambda: len(self.all_pids()) == n, f"{n} processes, there are {self.all_pids()}")
        return sorted(filter(None, self.pids())) == sorted(self.all_pids())

    def disconnects(self):
        try:
            with open(f"{self.dir}/disconnects", encoding="utf-8") as f:
                return f.read().split()
        except FileNotFoundError:
            return []

    def delete(self):
        return self.pm.run("delete", self.name)


def pids_with(argument):
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if argument.encode() in words and not words[0].endswith((b"pmctl", b"pmd")):
            found.append(int(entry))
    return found


class Load(threading.Thread):
    """Asks over and over, each time by a new connection, or by the same as long as the server lets it."""

    def __init__(self, address, keep, path="/"):
        super().__init__(daemon=True)
        self.address, self.keep, self.path = address, keep, path
        self.n, self.failures, self.stopped, self.pids = 0, [], False, set()
        self.start()

    def connect(self):
        if isinstance(self.address, int):
            return socket.create_connection(("127.0.0.1", self.address), PATIENCE)
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(PATIENCE)
        s.connect(self.address)
        return s

    def ask(self, s):
        """Whether the connection is of use afterwards."""
        wish = "" if self.keep else "Connection: close\r\n"
        s.sendall(f"GET {self.path} HTTP/1.1\r\nHost: x\r\n{wish}\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data or b"}" not in data:
            more = s.recv(4096)
            if not more:
                raise OSError(f"the connection ends after {data[:200]!r}")
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
            raise OSError(f"got {data[:50]!r}")
        self.pids.add(json.loads(body[body.index(b"{"):body.index(b"}") + 1])["pid"])
        self.n += 1
        return self.keep and b"\r\nconnection: close" not in head.lower() and not head.startswith(b"HTTP/1.0")

    def run(self):
        s = None
        while not self.stopped:
            try:
                s = s or self.connect()
                usable = self.ask(s)
            except OSError as e:
                self.failures.append(repr(e))
                usable = False
                time.sleep(0.01)
            if s and not usable:
                s.close()
                s = None
        if s:
            s.close()

    def finish(self):
        self.stopped = True
        self.join(PATIENCE)
        return self.failures


def lost(loads):
    """What they say at their end, "" if each has been served, and without a failure."""
    failures = [f for load in loads for f in load.finish()]
    served = [load.n for load in loads]
    return "" if not failures and all(n > 0 for n in served) else f"{len(failures)} failures: {failures[:5]}, served {served}"
