# SPDX-License-Identifier: MIT
"""What the tests of the death of pmd share: a private pmd to be killed."""

import contextlib
import os
import random
import signal
import threading
import time

import statefile
from pmctltest import Instance

# The keeper waits before it starts a pmd again that has died more often than this without living for a second.
DEATHS_FREE = 4
LIVED = 1.05


class Victim(Instance):
    """A private pmd to be killed."""

    def __init__(self, build):
        super().__init__(build)
        self.n_quick = 0
        self.random = random.Random(7)

    def pid(self):
        try:
            with open(os.path.join(self.dir, "home", "run", "pmd.lock"), encoding="utf-8") as f:
                return int(f.read())
        except (OSError, ValueError):
            return 0

    def comm(self, pid):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                return f.read().strip()
        except OSError:
            return ""

    def kill(self):
        pid = self.pid()
        if pid > 0 and self.comm(pid) == "pmd":
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def run_killed(self, *args, within=0.06, **env):
        """Runs a command, and kills pmd at some moment of it."""
        if self.n_quick >= DEATHS_FREE:
            time.sleep(LIVED)
            self.n_quick = 0
        killer = threading.Timer(self.random.uniform(0, within), self.kill)
        killer.start()
        try:
            return self.run(*args, **env)
        finally:
            killer.join()
            self.n_quick += 1

    def app(self, name, *args):
        """A script that notes each of its starts, and that it is the only one."""
        path = os.path.join(self.dir, name + ".sh")
        starts = os.path.join(self.dir, name + ".starts")
        self.write(name + ".sh", f"#!/bin/sh\necho $NODE_APP_INSTANCE >>{starts}\nexec flock -n -E 99 {self.dir}/{name}.$NODE_APP_INSTANCE.lock sleep 10000\n")
        return ["start", path, "--name", name, "--interpreter", "none", "--min-uptime", "100", *args]

    def n_starts(self, name):
        try:
            with open(os.path.join(self.dir, name + ".starts"), encoding="utf-8") as f:
                return len(f.read().splitlines())
        except FileNotFoundError:
            return 0

    def holders(self):
        """Processes of this instance, by what they hold: {lock: [pids]}."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    argv = f.read().decode(errors="replace").split("\0")
                with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                    parent = f.read().rsplit(")", 1)[1].split()[1]
                # The child that it forks is another one only for a moment.
                if argv[0] == "flock" and argv[4].startswith(self.dir) and self.comm(parent) != "flock":
                    found.setdefault(os.path.basename(argv[4]), []).append(int(pid))
        return found

    def leftovers(self):
        return statefile.left(os.path.join(self.dir, "home", "run"))
