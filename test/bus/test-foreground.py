# SPDX-License-Identifier: MIT
"""pmd --foreground as process 1 of a pid namespace, as in a container: output, signals, exit status, orphans, and a pmd that is killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from pmdtest import PATIENCE, Tap, wait_until

BUILD = os.path.abspath(sys.argv[1])
LOOP = """#!/bin/sh
trap 'echo stopping; exit 0' %s
echo up
while :; do sleep 0.05; done
"""


def stat_of(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
        name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
    return name, *rest.split()[:2]


def children(pid):
    """None of one that has ended."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as f:
            return [int(c) for c in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(pid):
    result = []
    for c in children(pid):
        result += [c, *descendants(c)]
    return result


def is_alive(pid):
    try:
        return stat_of(pid)[1] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Container:
    """A pid namespace with a directory of its own."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="pmd-foreground-")
        self.env = {"PATH": os.environ["PATH"], "HOME": self.dir, "LC_ALL": "C.UTF-8", "GREETING": "hello"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]
        self.process = self.init = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process and self.process.poll() is None:
            os.kill(self.init, signal.SIGKILL)
            self.process.wait()
        if exc[0]:
            print(self.out(), self.err(), file=sys.stderr)
        shutil.rmtree(self.dir, ignore_errors=True)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)

    def start(self, *words):
        command = ["unshare", "--pid", "--fork", "--mount-proc", *([] if os.getuid() == 0 else ["--user", "--map-root-user"]), *words]
        with open(os.path.join(self.dir, "out"), "w", encoding="utf-8") as out, open(os.path.join(self.dir, "err"), "w", encoding="utf-8") as err:
            self.process = subprocess.Popen(command, env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        wait_until(lambda: self.process.poll() is not None or children(self.process.pid), "process 1")
        self.init = (children(self.process.pid) or [0])[0]

    def foreground(self, *words):
        self.start(os.path.join(BUILD, "src", "pmd"), "--foreground", *words)

    def wait(self):
        return self.process.wait(PATIENCE)

    def run(self, *words):
        self.foreground(*words)
        return self.wait()

    def read(self, name):
        with open(os.path.join(self.dir, name), encoding="utf-8", errors="replace") as f:
            return f.read()

    def out(self):
        return self.read("out")

    def err(self):
        return self.read("err")

    def pmctl(self, *words):
        """As in another shell of the container."""
        return subprocess.run(["nsenter", f"--target={self.init}", "--pid", "--mount", *([] if os.getuid() == 0 else ["--user"]), os.path.join(BUILD, "src", "pmctl"), *words],
                              env=self.env, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False)

    def apps(self):
        if not self.pmd(): # pmctl would start one, which then is in the way of process 1
            return {}
        r = self.pmctl("jlist")
        return {p["name"]: p for p in json.loads(r.stdout)} if r.returncode == 0 and r.stdout else {}

    def pmd(self):
        return next((c for c in children(self.init) if stat_of(c)[0] == "pmd"), 0)

    def is_up(self, name):
        return self.apps().get(name, {}).get("pm2_env", {}).get("status") == "online"


def check_status(tap):
    with Container() as c:
        c.write("seven.sh", "#!/bin/sh\necho $GREETING; echo oops >&2\nexit 7\n")
        tap.equal(c.run("./seven.sh", "--no-autorestart"), 7, "the exit status of the only app is ours")
        tap.equal(c.out(), "hello\n", "its output is ours, and nothing else is, and its environment that of the container")
        tap.check("oops\n" in c.err(), "so are its errors", c.err())
    with Container() as c:
        c.write("dies.sh", "#!/bin/sh\nkill -SEGV $$\n")
        tap.equal(c.run("./dies.sh", "--no-autorestart"), 128 + signal.SIGSEGV, "128 and the signal that killed it")
    with Container() as c:
        tap.equal(c.run("./nothing.js"), 1, "an app that there is not ends it")
        tap.check("nothing.js" in c.err(), "and it says why", c.err())
    with Container() as c:
        c.write("crash.sh", "#!/bin/sh\necho once more\nexit 3\n")
        tap.equal(c.run("./crash.sh", "--max-restarts", "4"), 3, "an app that crashes is restarted, and ends it when it is given up")
        tap.equal(c.out().count("once more"), 4, "as often as it was to")
    with Container() as c:
        c.write("fine.sh", "#!/bin/sh\necho '{\"a\": 1}'\n")
        tap.equal(c.run("start", "./fine.sh", "--no-autorestart", "--json", "--name", "fine"), 0, "an app that ends well, called as pm2-runtime")
        tap.equal(json.loads(c.out()).get("app_name"), "fine", "--json writes lines as JSON")


def check_two(tap):
    with Container() as c:
        c.write("eco.json", json.dumps({"apps": [
            {"name": "quick", "script": "/bin/sh", "args": ["-c", "exit 5"], "autorestart": False},
            {"name": "slow", "script": "/bin/sh", "args": ["-c", "sleep 1; echo slow is done"], "autorestart": False},
        ]}))
        tap.equal(c.run("eco.json"), 5, "two apps: the status of the one that failed")
        tap.equal(c.out(), "slow is done\n", "when the last has ended")


def check_signals(tap):
    for signo, asked in ((signal.SIGTERM, "INT"), (signal.SIGINT, "INT"), (signal.SIGQUIT, "USR1")):
        with Container() as c:
            c.write("loop.sh", LOOP % asked)
            c.write("hard.sh", "#!/bin/sh\ntrap '' INT TERM\necho up\nwhile :; do sleep 0.05; done\n")
            c.write("eco.json", json.dumps({"apps": [
                {"name": "loop", "script": "./loop.sh", "kill_signal": "SIG" + asked},
                {"name": "hard", "script": "./hard.sh", "kill_timeout": 300},
            ]}))
            c.foreground("eco.json")
            wait_until(lambda: c.out().count("up\n") == 2, "the apps")
            for harmless in (signal.SIGHUP, signal.SIGUSR2):
                os.kill(c.init, harmless)
            os.kill(c.init, signo)
            tap.equal(c.wait(), 0, f"{signo.name} ends it in good order")
            tap.check("stopping\n" in c.out(), f"after SIG{asked} to the app", c.out() + c.err())


def check_orphans(tap):
    with Container() as c:
        c.write("forks.sh", "#!/bin/sh\ntrap 'exit 0' INT\nfor i in 1 2 3 4 5 6 7 8; do (setsid sh -c 'sleep 0.2 & exit 0' &); done\n"
                            "(env -i setsid sleep 0.3 &)\necho up\nwhile :; do sleep 0.1; done\n")
        c.foreground("./forks.sh")
        wait_until(lambda: "up" in c.out() and c.is_up("forks"), "the app")
        time.sleep(0.6)
        wait_until(lambda: not [p for p in descendants(c.init) if not is_alive(p)], "the reaping of orphans")
        tap.equal([stat_of(p)[0] for p in children(c.init)], ["pmd"], "orphans are reaped, wherever they went")
        os.kill(c.init, signal.SIGTERM)
        tap.equal(c.wait(), 0, "the end")


def check_killed_pmd(tap):
    with Container() as c:
        c.write("loop.sh", LOOP.replace("exit 0", "exit 9") % "INT")
        c.foreground("./loop.sh", "--name", "api", "--no-autorestart")
        wait_until(lambda: c.is_up("api"), "the app")
        app, pmd = c.apps()["api"]["pid"], c.pmd()
        tap.check("api" in c.pmctl("list").stdout, "pmctl in another shell reaches it")
        os.kill(pmd, signal.SIGKILL)
        wait_until(lambda: c.pmd() not in (0, pmd) and c.is_up("api"), "the next pmd")
        tap.equal(c.apps()["api"]["pid"], app, "the app lives on when pmd is killed")
        tap.equal(c.pmctl("sendSignal", "SIGINT", "api").returncode, 0, "its end")
        tap.equal(c.wait(), 9, "whose status is ours, also then")
        tap.equal(c.out(), "up\nstopping\n", "no line is lost")


def check_again(tap):
    with Container() as c:
        c.write("loop.sh", LOOP % "INT")
        for attempt in ("the first", "the second, of which files of the first tell"):
            c.foreground("./loop.sh", "--name", "api")
            wait_until(lambda: c.process.poll() is not None or c.is_up("api"), "the app")
            tap.equal(len(c.apps()), 1, "a container that is killed can be started again: " + attempt)
            os.kill(c.init, signal.SIGKILL)
            c.wait()


def check_stays(tap):
    with Container() as c:
        c.write("short.sh", "#!/bin/sh\necho done\n")
        c.foreground("--no-auto-exit", "./short.sh", "--no-autorestart")
        wait_until(lambda: c.apps().get("short", {}).get("pm2_env", {}).get("status") == "stopped", "the end of the app")
        time.sleep(0.3)
        tap.check(c.process.poll() is None, "--no-auto-exit serves on when the app has ended")
        c.pmctl("kill") # ends with process 1, as all in its namespace
        tap.equal(c.wait(), 0, "pmctl kill ends it")


def check_pmctl(tap):
    pmctl = os.path.join(BUILD, "src", "pmctl")
    for words in (["runtime", "./say.sh", "--no-autorestart", "--name", "x", "--", "--no-daemon"],
                  ["start", "--no-daemon", "./say.sh", "--no-autorestart", "--", "--no-daemon"]):
        with Container() as c:
            c.write("say.sh", "#!/bin/sh\necho arguments: $*\nexit 4\n")
            c.start(pmctl, *words)
            tap.equal((c.wait(), c.out()), (4, "arguments: --no-daemon\n"), f"pmctl {' '.join(words[:2])} is pmd --foreground")
    with Container() as c:
        c.write("loop.sh", LOOP % "INT")
        c.foreground("./loop.sh", "--name", "first")
        wait_until(lambda: c.is_up("first"), "the app")
        viewer = subprocess.Popen(["nsenter", f"--target={c.init}", "--pid", "--mount", *([] if os.getuid() == 0 else ["--user"]), pmctl, "start",
                                   "--no-daemon", "/bin/sh", "--name", "second", "--output", os.path.join(c.dir, "second.log"), "--", "-c", "echo seen; sleep 1000"],
                                  env=c.env, cwd=c.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        seen = next((line for line in viewer.stdout if "seen" in line), None)
        viewer.kill()
        viewer.wait()
        tap.check(seen and c.is_up("second"), "start --no-daemon where a pmd serves shows the logs, and the app stays", seen)
        os.kill(c.init, signal.SIGTERM)
        tap.equal(c.wait(), 0, "the end of both")


tap = Tap()
for check in (check_status, check_two, check_signals, check_orphans, check_killed_pmd, check_again, check_stays, check_pmctl):
    try:
        check(tap)
    except Exception as e:  # the other checks may still tell something
        tap.check(False, check.__name__, repr(e))
raise SystemExit(tap.done())
