# SPDX-License-Identifier: MIT
"""What the tests share that have pmd die at a chosen step: the points, a home with a pmd that dies there, and a look at all that an operation
can leave behind."""

import contextlib
import glob
import json
import os
import re
import shlex
import struct
import time

import statefile
from pmctltest import Instance, show
from pmdtest import SOURCE_DIR, _align, _string, connect, method_call

PATIENCE = 30
STABLE = 0.15


def points():
    """Names of all points at which a build with -Dfault_injection=true can die."""
    with open(os.path.join(SOURCE_DIR, "src", "shared", "fault.c"), encoding="utf-8") as f:
        steps = re.findall(r'\[FAULT_\w+\] = "([\w-]+)"', f.read())
    return [f"{when}-{step}" for step in steps for when in ("before", "after")]


# ---- /proc ----


def _read(path):
    with contextlib.suppress(OSError):
        with open(path, "rb") as f:
            return f.read()
    return b""


def _link(path):
    with contextlib.suppress(OSError):
        return os.readlink(path)
    return ""


def parent_of(pid):
    m = re.search(rb"^PPid:\s*(\d+)", _read(f"/proc/{pid}/status"), re.M)
    return int(m.group(1)) if m else 0


class FaultHome(Instance):
    """fault: "POINT:N"; passes are counted from arm() on."""

    def __init__(self, build, fault="none:0"):
        super().__init__(build)
        self.run_dir = os.path.join(self.dir, "home", "run")
        self.faults = os.path.join(self.dir, "faults")
        self.pids = set()
        self.pid_before = 0
        pmd = shlex.quote(os.path.join(os.path.dirname(self.pmctl), "pmd"))
        # Of the environment of a client little is passed on to pmd.
        self.env["PMD_DAEMON"] = self.write("pmd", f"#!/bin/sh\nexport PMD_FAULT={fault} PMD_FAULT_DIRECTORY={self.faults}\nexec {pmd} \"$@\"\n")
        self.write("app.sh", "#!/bin/sh\necho x >>starts.$NODE_APP_INSTANCE\nexec 9>lock.$NODE_APP_INSTANCE\n"
                   "flock -n 9 || { echo x >>doubles; exit 99; }\nexec sleep 10000\n")
        self.write("deaf.sh", "#!/bin/sh\ntrap '' INT\necho x >>starts.$NODE_APP_INSTANCE\nexec 9>lock.$NODE_APP_INSTANCE\n"
                   "flock -n 9 || { echo x >>doubles; exit 99; }\nwhile :; do sleep 0.05; done\n")
        self.write("web.js", "require('fs').appendFileSync('starts.' + process.env.NODE_APP_INSTANCE, 'x\\n');\n"
                   "require('http').createServer((q, r) => r.end('ok')).listen(process.cwd() + '/web.sock');\n")

    def __exit__(self, *exc):
        self.note_pid()
        super().__exit__(*exc)

    def arm(self):
        self.pid_before = self.pid()
        os.mkdir(self.faults)

    def passes(self):
        return {name: os.stat(os.path.join(self.faults, name)).st_size for name in os.listdir(self.faults)}

    def pid(self):
        with contextlib.suppress(ValueError):
            return int(_read(os.path.join(self.run_dir, "pmd.lock")) or 0)
        return 0

    def note_pid(self):
        self.pids.add(self.pid())

    def died(self):
        return self.pid_before > 0 and self.pid() != self.pid_before

    # ---- what there is ----

    def processes(self):
        """{what is known of it: how many}: of our apps, and of pmd with its keeper and the children that it forks."""
        mark, found = f"PMD_FAULT_DIRECTORY={self.faults}".encode(), {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            name = _read(f"/proc/{pid}/comm").decode(errors="replace").strip()
            if mark in _read(f"/proc/{pid}/environ").split(b"\0"):
                pass
            elif _link(f"/proc/{pid}/cwd") != self.dir or name == "pmctl":
                continue
            elif not name.startswith("node"):
                if _link(f"/proc/{parent_of(pid)}/cwd") == self.dir:
                    continue  # what deaf.sh runs
                name = "app with " + os.path.basename(_link(f"/proc/{pid}/fd/9"))
            found[name] = found.get(name, 0) + 1
        return found

    def files(self):
        """What is in the runtime directory, and the lists. How many processes share a definition does not matter, but each must have its own."""
        found, used = [], set()
        for root, _, files in os.walk(self.run_dir):
            for name in files:
                path = os.path.relpath(os.path.join(root, name), self.run_dir)
                if path not in ("processes", "definitions", "requests"):
                    found.append(path)
        # What is being written while we read it is read again.
        with contextlib.suppress(ValueError):
            found += ["an open request" if jobs else "a request that has ended" for jobs in statefile.requests(self.run_dir)]
            for state in statefile.states(self.run_dir).values():
                found.append(f"process {state['id']}" if state["role"] == "current" else f"hidden process {state['id']}")
                used |= statefile.definitions_of(state)
        found += ["a definition"] * bool(used)
        # Those that nobody needs are cleared up now and then, see test-takeover.py.
        found += ["a missing definition" for _ in used - set(statefile.definitions(self.run_dir))]
        for pattern in ("home/state/*", "home/pids/*", "*.sock"):
            found += [os.path.relpath(p, self.dir) for p in glob.glob(os.path.join(self.dir, pattern))]
        return sorted(found)

    def kept_fds(self):
        """Kinds of descriptors of the keeper."""
        keeper, found = parent_of(self.pid()), {}
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{keeper}/fd"):
                kind = re.sub(r"\[?\d+\]?$", "", _link(f"/proc/{keeper}/fd/{fd}"))
                if kind.startswith(("pipe:", "socket:", "anon_inode:[pidfd", "anon_inode:bpf", "pidfd")):
                    found[kind] = found.get(kind, 0) + 1
        # One is that of the client that started the first pmd.
        found["socket:"] = found.get("socket:", 0) - (not self.died())
        return found

    def cgroups(self):
        """Units below the directories of our pmds, and directories of those that are dead and have none."""
        found = []
        own = re.search(rb"^0::(.*)$", _read(f"/proc/{self.pid()}/cgroup"), re.M)
        for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
            for pid in self.pids if own else ():
                for root in glob.glob(f"{mount}{own.group(1).decode()}/pmd-{pid}-*"):
                    units = [os.path.basename(u) for u in glob.glob(root + "/*.scope")]
                    found += units
                    if not units and pid != self.pid():
                        found.append("an empty directory of a dead pmd")
        return sorted(re.sub(r"-\d+\.scope$", "", u) for u in found)

    def starts(self):
        return {os.path.basename(p): len(_read(p).split()) for p in glob.glob(self.dir + "/starts.*") + glob.glob(self.dir + "/doubles")}

    def apps(self):
        r = self.run("jlist")
        if r.returncode != 0:
            raise RuntimeError(show(r))
        return sorted((p["name"], p["pm2_env"]["NODE_APP_INSTANCE"], p["pm2_env"]["status"], p["pm2_env"]["restart_time"]) for p in json.loads(r.stdout))

    def saved(self):
        """How many apps the newest list has."""
        text = _read(os.path.join(self.dir, "home", "state", "saved.json"))
        return len(json.loads(text)["apps"]) if text else 0

    def snapshot(self):
        apps = self.apps()
        self.note_pid()
        return {"apps": apps, "processes": self.processes(), "files": self.files(), "kept descriptors": self.kept_fds(), "cgroups": self.cgroups(),
                "starts": self.starts(), "saved": self.saved()}

    def settle(self, wanted):
        """Waits until what there is is one of those that are wanted, and stays so. (which, "") or (-1, the difference)."""
        deadline = time.monotonic() + PATIENCE / 3
        last = None
        while time.monotonic() < deadline:
            now = self.snapshot()
            if now in wanted:
                if last == now:
                    return wanted.index(now), ""
                last = now
                time.sleep(STABLE)
            else:
                last = None
                time.sleep(0.05)
        now = self.snapshot()
        return -1, "\n".join(f"{k}: {now[k]!r}, expected {' or '.join(dict.fromkeys(repr(w[k]) for w in wanted))}"
                             for k in now if all(now[k] != w[k] for w in wanted)) or f"a mixture: {now!r}"

    def settle_elsewhere(self, before):
        """Waits until something has changed."""
        deadline = time.monotonic() + PATIENCE / 3
        while self.snapshot() == before and time.monotonic() < deadline:
            time.sleep(0.02)

    # ---- a client that does not come back ----

    def ask_once(self, member, signature, body):
        """Sends a request by hand, and does not care for the answer."""
        with connect(os.path.join(self.run_dir, "pmd.sock")) as s, contextlib.suppress(OSError):
            s.sendall(method_call(1, "/org/pmd1", "org.pmd1.Manager", member, signature, body))
            s.recv(4096)


# ---- bodies of requests ----

def strings(*items):
    data = b""
    for item in items:
        data = _align(data, 4) + _string(item)
    return struct.pack("<I", len(data)) + data


def targets(*items):
    data = strings(*items)
    return data + variants(len(data))


def variants(offset, **values):
    """a{sv} behind so many bytes, with its values strings or numbers."""
    data = b""
    for key, value in values.items():
        data = _align(data, 8) + _string(key)
        if isinstance(value, str):
            data = _align(data + b"\1s\0", 4) + _string(value)
        else:
            data = _align(data + b"\1u\0", 4) + struct.pack("<I", value)
    start = -offset % 4
    return b"\0" * start + struct.pack("<I", len(data)) + b"\0" * (-(offset + start + 4) % 8) + data
