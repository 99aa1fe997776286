# SPDX-License-Identifier: MIT
"""A fleet with all that apps do, operations on it and requests to it, while pmd is killed again and again; and what must be true at the end."""

import collections
import contextlib
import glob
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import threading
import time

from pmctltest import show
from pmdtest import wait_until
from survivetest import DEATHS_FREE, LIVED, Victim

LOADER = """
const http = require('http'), ports = process.argv.slice(2);
let ok = 0, live = 0, ending = false; const bad = {};
function fail(what) { bad[what] = (bad[what] || 0) + 1; }
function ask(port, agent) {
  if (ending) { if (--live === 0) console.log(JSON.stringify({ ok, bad })); return; }
  const again = () => setTimeout(() => ask(port, agent), 20);
  http.get({ port, host: '127.0.0.1', agent }, r => {
    let body = '';
    r.on('data', d => body += d);
    r.on('error', e => { fail('answer ' + e.code); again(); });
    r.on('end', () => { if (r.statusCode === 200 && body === 'ok') ok++; else fail('status ' + r.statusCode); again(); });
  }).on('error', e => { fail(e.code); again(); });
}
for (const port of ports) for (const agent of [false, false, new http.Agent({ keepAlive: true, maxSockets: 1 })]) { live++; ask(port, agent); }
process.stdin.on('end', () => ending = true).resume();
"""
WEB = "require('http').createServer((q, r) => r.end('ok')).listen(+process.env.WEB_PORT, '127.0.0.1');\n"


def free_ports(n):
    import socket
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Storm(Victim):
    def __init__(self, build, seed, loggers=60, webs=2, forkers=10, crashers=10):
        super().__init__(build)
        self.random = random.Random(seed)
        self.app_path = os.path.abspath(os.path.join(build, "test", "storm-app"))
        self.n = {"log": loggers, "fork": forkers, "crash": crashers}
        self.ports = free_ports(webs)
        self.n_kills = self.n_operations = self.n_repeated = 0
        self.faults = []
        self.expected = collections.Counter()
        self.started = {}
        self.write("web.js", WEB)
        self.write("load.js", LOADER)

    # ---- the fleet ----

    def must(self, *args, **env):
        r = self.run(*args, **env)
        self.n_operations += 1
        if r.returncode != 0 or "Sanitizer" in r.stderr:
            self.faults.append(f"pmctl {' '.join(args)}: {show(r)}")
        return r

    def start_app(self, name, mode, n=1, *args):
        self.must("start", self.app_path, "--name", name, "--interpreter", "none", "--cwd", self.dir, "-i", str(n), "--max-restarts", "1000000",
                  "--min-uptime", "100", *args, "--", mode)

    def start_fleet(self):
        for mode, n in self.n.items():
            self.start_app(mode, mode, n, *(["--restart-delay", "100"] if mode == "crash" else []))
        self.start_app("counted", "stay", 2)
        self.start_app("stopped", "stay", 2)
        self.start_app("scaled", "stay", 2)
        for i, port in enumerate(self.ports):
            self.must("start", "web.js", "--name", f"web{i}", "-i", "2", "--min-uptime", "100", WEB_PORT=str(port))
        for port in self.ports:
            wait_until(lambda p=port: self.serves(p), "a web app")
        time.sleep(1)
        self.pids = {p["pm_id"]: p["pid"] for p in self.jlist() if p["name"] in ("log", "fork")}
        self.load = subprocess.Popen(["node", os.path.join(self.dir, "load.js"), *map(str, self.ports)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def serves(self, port):
        import socket
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        return False

    # ---- what goes on ----

    def operate(self, ended):
        """One operation after another. What they are is chance, but what is true after them is not."""
        chance = random.Random(self.random.random())
        i = 0
        while not ended.is_set():
            i += 1
            what = chance.choice(("restart", "stop", "scale", "reload", "new", "list"))
            if what == "restart":
                self.must("restart", "counted")
                self.expected["counted"] += 1
            elif what == "stop":
                self.must("stop", "stopped")
                self.must("start", "stopped")
            elif what == "scale":
                self.must("scale", "scaled", "4")
                self.must("scale", "scaled", "2")
            elif what == "reload" and self.ports:
                web = chance.randrange(len(self.ports))
                self.must("reload", f"web{web}")
                self.expected[f"web{web}"] += 1
            elif what == "new":
                self.start_app(f"new{i}", "stay", 2)
                self.must("delete", f"new{i}")
            else:
                self.must("jlist")

    def let_live(self):
        """Long enough for the keeper to start the next ones without a pause."""
        wait_until(self.is_served, "pmd")
        pid = self.pid()
        time.sleep(LIVED)
        if self.pid() != pid:
            self.faults.append(f"pmd {pid} ended by itself")

    def is_served(self):
        return self.run("ping").returncode == 0

    def rage(self, n):
        """Kills pmd so many times, while operations go on."""
        ended = threading.Event()
        operator = threading.Thread(target=self.operate, args=(ended,))
        operator.start()
        try:
            for i in range(n):
                time.sleep(self.random.uniform(0.02, 0.4))
                if i % DEATHS_FREE == 0:
                    self.let_live()
                wait_until(self.kill, "a pmd to kill")
                self.n_kills += 1
        finally:
            ended.set()
            operator.join()

    # ---- what must be true ----

    def count_starts(self, name, instance):
        with contextlib.suppress(FileNotFoundError):
            with open(os.path.join(self.dir, f"starts.{name}.{instance}"), encoding="utf-8") as f:
                return len(f.read().splitlines())
        return 0

    def lines_lost(self):
        """Faults of the logs: each process numbers its lines, and says how many there were."""
        faults = []
        for i in range(self.n["log"]):
            printed = next((f for f in os.listdir(self.dir) if re.fullmatch(rf"lines\.\d+\.log\.{i}", f)), None)
            if not printed:
                faults.append(f"logger {i} never ran")
                continue
            with open(os.path.join(self.dir, printed), "rb") as f:
                n = struct.unpack("=Q", f.read(8))[0]
            pid = printed.split(".")[1]
            with contextlib.suppress(FileNotFoundError):
                with open(os.path.join(self.dir, "home", "logs", f"log-out-{i}.log"), encoding="utf-8") as f:
                    lines = f.read().splitlines()
            # Between a line and its count the process may have been stopped. What pmd had written when it was killed, and not taken out of the pipe
            # yet, is written again.
            numbers = [int(line.split()[1]) if re.fullmatch(rf"{pid} \d+", line) else -2 for line in lines]
            wrong = next((k for k, (before, now) in enumerate(zip([-1] + numbers, numbers)) if not 0 <= now <= before + 1), None)
            if wrong is not None or max(numbers, default=-1) not in (n - 1, n):
                faults.append(f"logger {i} printed {n} lines, {len(lines)} are there, the first that is wrong is {wrong}")
            self.n_repeated += len(numbers) - len(set(numbers))
        return faults

    def holders(self, lock):
        """Pids that hold such a lock."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/cwd") != self.dir:
                    continue
                for fd in os.listdir(f"/proc/{pid}/fd"):
                    path = os.readlink(f"/proc/{pid}/fd/{fd}")
                    if os.path.basename(path).startswith(lock + "."):
                        found.setdefault(os.path.basename(path)[len(lock) + 1:], []).append(int(pid))
        return found

    def end_load(self):
        out, _ = self.load.communicate(timeout=60)
        return json.loads(out)

    def wait_for_calm(self):
        wanted = collections.Counter(log=self.n["log"], fork=self.n["fork"], counted=2, stopped=2, scaled=2, **{f"web{i}": 2 for i in range(len(self.ports))})
        self.must("stop", "crash")
        wait_until(lambda: collections.Counter(p["name"] for p in self.jlist() if p["pm2_env"]["status"] == "online") == wanted, "all apps")

    def check(self, tap):
        load = self.end_load()
        self.wait_for_calm()
        processes = self.jlist()
        tap.equal(self.faults[:5], [], f"{self.n_operations} operations while pmd was killed {self.n_kills} times")
        tap.equal({p["pm_id"]: p["pid"] for p in processes if p["name"] in ("log", "fork")}, self.pids, "no app was lost, or started again")
        tap.check(not os.path.exists(os.path.join(self.dir, "doubles")), "none ran twice")
        tap.equal({k: len(v) for k, v in self.holders("child-lock").items()}, {f"fork.{i}": 1 for i in range(self.n["fork"])}, "nor what apps had forked")
        if self.ports:
            tap.check(load["ok"] > 0 and not load["bad"], f"{load['ok']} requests were answered", load)
        tap.equal([p["pm2_env"]["restart_time"] for p in processes if p["name"] in ("log", "fork")], [0] * (self.n["log"] + self.n["fork"]), "none counts a restart that was none")
        for name in ("counted", *(f"web{i}" for i in range(len(self.ports)))):
            tap.equal([p["pm2_env"]["restart_time"] for p in processes if p["name"] == name], [self.expected[name]] * 2, f"{name} was restarted as often as asked for")
        tap.equal([self.count_starts("counted", i) for i in (0, 1)], [self.expected["counted"] + 1] * 2, "and started as often")
        crashes = [(p["pm2_env"]["restart_time"], self.count_starts("crash", p["pm2_env"]["NODE_APP_INSTANCE"]) - 1) for p in processes if p["name"] == "crash"]
        # The stop may have come before a child that was counted ran.
        tap.check(len(crashes) == self.n["crash"] and all(counted - started in (0, 1) for counted, started in crashes),
                  f"{sum(started for _, started in crashes)} ends of apps were each followed by one start, and counted", crashes)
        self.must("stop", "log")
        time.sleep(0.5)
        lost = self.lines_lost()
        tap.check(not lost, f"no line was lost, {self.n_repeated} are there twice", "\n".join(lost[:10]))
        self.must("delete", "all")
        wait_until(lambda: not self.holders("lock") and not self.holders("child-lock"), "the end of all")
        tap.equal(self.leftovers(), [], "nothing is left in the end")

    def __exit__(self, *exc):
        if exc[0]:
            keep = f"/tmp/storm-{os.getpid()}.log"
            shutil.copy(os.path.join(self.dir, "home", "pmd.log"), keep)
            print(f"# pmd's log: {keep}")
        with contextlib.suppress(Exception):
            self.load.send_signal(signal.SIGKILL)
        super().__exit__(*exc)


# ---- without deaths ----

# So many requests that have ended are kept for clients that come back.
FIRST_CYCLES = 40


def resources(pm):
    """What pmd has of each kind, and its memory in KiB."""
    pid = pm.pid()
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        rss = next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        keeper = next(int(line.split()[1]) for line in f if line.startswith("PPid:"))
    files = sum(len(names) for _, _, names in os.walk(os.path.join(pm.dir, "home", "run")))
    cgroups = len(glob.glob(f"/sys/fs/cgroup/**/pmd-{pid}-*/*.scope", recursive=True))
    return {"descriptors of pmd": len(os.listdir(f"/proc/{pid}/fd")), "descriptors of the keeper": len(os.listdir(f"/proc/{keeper}/fd")),
            "files": files, "cgroups": cgroups}, rss


def cycles(pm, n, n_first, instances=1):
    """Starts and stops an app, all its instances at a time, until there were n starts. What there is, and the memory of pmd in KiB, after so many, and
    in the end."""
    seen = []
    n, n_first = n // instances, n_first // instances
    pm.run("start", "/bin/sleep", "--name", "cycle", "--interpreter", "none", "-i", str(instances), "--", "100000")
    for i in range(n):
        for verb in ("stop", "start"):
            r = pm.run(verb, "cycle")
            if r.returncode != 0:
                raise RuntimeError(r.stderr)
        if i + 1 in (n_first, n):
            wait_until(lambda: pm.status("cycle") == ["online"] * instances, "the app")
            seen.append(resources(pm))
    pm.run("delete", "all")
    return seen
