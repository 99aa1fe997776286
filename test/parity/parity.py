# SPDX-License-Identifier: MIT
"""Runs scenarios against pm2 and against pmctl, side by side, and compares all that a script can see.

A scenario is a row: a name, files, and steps. Each step may observe something; at the end the list is observed, with every field but
those that cannot be the same. What differs on purpose stands in differences.py.
"""

import concurrent.futures
import glob
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from differences import ABSENT, BY_SCENARIO, EVERYWHERE

SOURCE_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DIFFERENCES_FILE = os.path.join(SOURCE_DIR, "doc", "PM2-DIFFERENCES.md")
PATIENCE = float(os.environ.get("PARITY_PATIENCE", "40"))

DATE = re.compile(r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d\b")

# Apps.
SLEEP = "exec sleep 1000\n"
PROBE_PY = """import json, os, signal, sys
here = os.path.dirname(os.path.abspath(sys.argv[0]))
path = os.path.join(here, "probe-%s.json" % os.environ.get("NODE_APP_INSTANCE", os.environ.get("NUMBER", "x")))
with open(path + "~", "w") as f:
    json.dump({"argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ), "ids": [os.getuid(), os.getgid()], "umask": os.umask(0)}, f)
os.rename(path + "~", path)
while True:
    signal.pause()
"""
PROBE_JS = """const fs = require('fs');
const path = __dirname + '/probe-' + process.env.NODE_APP_INSTANCE + '.json';
fs.writeFileSync(path + '~', JSON.stringify({argv: process.argv.slice(2), cwd: process.cwd(), env: process.env, node: process.execArgv}));
fs.renameSync(path + '~', path);
setInterval(() => {}, 1000);
"""
# Another interpreter than those that are there: what it was given, then it sleeps.
FAKE_INTERPRETER = """#!/bin/sh
echo "$(basename "$0") $*"
exec sleep 1000
"""


class Scenario:
    def __init__(self, name, steps, files=None, listing=True):
        self.name, self.files, self.differs = name, files or {}, BY_SCENARIO.get(name, [])
        self.steps = [command(s) if isinstance(s, str) else s for s in steps] + ([listed()] if listing else [])


class Failed(Exception):
    pass


# ---- steps: functions of a side that return None or what they saw ----


def step(label):
    def wrap(function):
        function.label = label
        return function

    return wrap


def command(line, stdin=None, env=None, cwd=".", stdout=False):
    """Whether it succeeds; stdout: and what it prints."""

    @step(line)
    def run(side):
        r = side.run(shlex.split(line), stdin, env, cwd)
        seen = {"succeeds": r.returncode == 0}
        if stdout:
            seen["stdout"] = side.tidy(strip_colors(r.stdout))
        return seen

    return run


def says(line, **more):
    return command(line, stdout=True, **more)


def prints(line, **more):
    """How much it prints matters, not what."""

    @step("prints " + line)
    def run(side):
        r = side.run(shlex.split(line), **more)
        return {"succeeds": r.returncode == 0, "stdout": bool(r.stdout.strip()), "colors": "\x1b" in r.stdout + r.stderr}

    return run


def complains(line, **more):
    """An error is told, by pmctl on standard error; the words are not compared."""

    @step("complains " + line)
    def run(side):
        r = side.run(shlex.split(line), **more)
        return {"succeeds": r.returncode == 0, "tells": bool(r.stderr.strip() or (side.name == "pm2" and r.stdout.strip()))}

    return run


def json_of(line):
    @step("JSON of " + line)
    def run(side):
        return {"valid": isinstance(json.loads(side.run(shlex.split(line)).stdout), list)}

    return run


def rows(line, *names):
    """Rows of the tables of describe."""

    @step(f"rows of {line}")
    def run(side):
        text = strip_colors(side.run(shlex.split(line)).stdout)
        found = {}
        for cells in re.findall(r"^│ (.+?) +│ (.*?) +│$", text, re.M):
            found.setdefault(cells[0].strip(), side.tidy(cells[1].strip()))
        return {name: found.get(name, ABSENT) for name in names}

    return run


def columns():
    """The columns of the table and how many rows it has."""

    @step("table")
    def run(side):
        lines = strip_colors(side.run(["list"]).stdout).splitlines()
        head = next((line for line in lines if line.startswith("│")), "")
        return {"columns": [c.strip() for c in head.strip("│").split("│")], "rows": sum(line.startswith("│") for line in lines) - 1}

    return run


def until(name=None, n=None, **expected):
    """Until all processes of the name are as expected; n: and that many there are."""

    @step(f"until {name} {expected}")
    def run(side):
        def reached():
            found = [p for p in side.processes() if name in (None, p["name"])]
            return (len(found) > 0 if n is None else len(found) == n) and all(
                p["pm2_env"].get(k) in (v if isinstance(v, tuple) else (v,)) for p in found for k, v in expected.items())

        side.wait(reached, lambda: f"{name} {expected}: " + summary(side.processes()))

    return run


def until_file(pattern, text="", n=1):
    @step(f"until {pattern} has {text!r} {n} times")
    def run(side):
        def reached():
            return any(read(path).count(text) >= n if text else os.path.getsize(path) > 0 for path in glob.glob(side.path(pattern)))

        side.wait(reached, lambda: f"{pattern}: {[read(path)[-500:] for path in glob.glob(side.path(pattern))]}")

    return run


def content(pattern):
    @step(f"content of {pattern}")
    def run(side):
        return {side.tidy(path): DATE.sub("DATE", side.tidy(read(path))) for path in sorted(glob.glob(side.path(pattern)))}

    return run


def until_dead(path):
    """Until the process is gone whose id the file has."""

    @step(f"until the process in {path} is gone")
    def run(side):
        pid = int(read(side.path(path)))
        side.wait(lambda: not os.path.exists(f"/proc/{pid}"), lambda: f"process {pid} lives")

    return run


def exist(pattern):
    @step(f"names {pattern}")
    def run(side):
        return {"names": sorted(side.tidy(path) for path in glob.glob(side.path(pattern)))}

    return run


def write(path, text, mode=0o755):
    @step(f"write {path}")
    def run(side):
        side.write(path, text, mode)

    return run


def remove(path):
    @step(f"remove {path}")
    def run(side):
        for found in glob.glob(side.path(path)):
            os.unlink(found)

    return run


def until_stable(name):
    """Until its processes are older than a second, so that their end is no unstable restart."""

    @step(f"until {name} is stable")
    def run(side):
        found = [p for p in side.processes() if p["name"] == name]
        side.wait(lambda: all(time.time() * 1000 - p["pm2_env"]["pm_uptime"] > 1100 for p in found), lambda: "a second")

    return run


def crash(name, signo=signal.SIGKILL):
    """Sends a signal to the main processes of an app, once they are stable, and waits until each has been seen to end."""

    @step(f"crash {name}")
    def run(side):
        until_stable(name)(side)
        pids = [p["pid"] for p in side.processes() if p["name"] == name]
        for pid in pids:
            os.kill(pid, signo)
        side.wait(lambda: not {p.get("pid") for p in side.processes() if p["pm2_env"]["status"] == "online"} & set(pids),
                  lambda: f"{pids} are there")

    return run


def remember(name, what="pid"):
    @step(f"remember {what} of {name}")
    def run(side):
        side.memory[name, what] = [value_of(p, what) for p in side.processes() if p["name"] == name]

    return run


def is_new(name, what="pid"):
    @step(f"is {what} of {name} new")
    def run(side):
        now = [value_of(p, what) for p in side.processes() if p["name"] == name]
        return {"new": [a != b for a, b in zip(now, side.memory[name, what])]}

    return run


def until_new(name, what="pid"):
    @step(f"until {what} of {name} is new")
    def run(side):
        def reached():
            now = [value_of(p, what) for p in side.processes() if p["name"] == name and p["pm2_env"]["status"] == "online"]
            return now and all(a != b for a, b in zip(now, side.memory[name, what]))

        side.wait(reached, lambda: summary(side.processes()))

    return run


def value_of(process, what):
    return process.get("pid") if what == "pid" else process["pm2_env"].get(what)


def child(pattern="probe-*.json", variables=None, n=1):
    """What PROBE_* wrote down. variables: those that matter, else all; n: how many there are."""

    @step(f"child {pattern}")
    def run(side):
        side.wait(lambda: len(glob.glob(side.path(pattern))) >= n, lambda: f"{n} {pattern}")
        seen = {}
        for path in sorted(glob.glob(side.path(pattern))):
            probe = json.loads(read(path))
            env = probe["env"]
            if variables is not None:
                env = {k: env.get(k, ABSENT) for k in variables}
            probe["env"] = {k: tidy_variable(k, side.tidy(v)) for k, v in env.items()}
            seen[os.path.basename(path)] = side.tidy_all(probe)
        return seen

    return run


def listed(*fields):
    """The list; fields: only these of pm2_env."""

    @step("list")
    def run(side):
        found = sorted(side.jlist(), key=lambda p: str(p["pm_id"]))
        if fields:
            return {str(p["pm_id"]): {"name": p["name"], **{f: side.tidy_all(p["pm2_env"].get(f, ABSENT)) for f in fields}} for p in found}
        return {str(p["pm_id"]): side.tidy_all(tidy_process(p)) for p in found}

    return run


def counted():
    """Name, status, counters: for what is about nothing else."""
    return listed("status", "restart_time", "unstable_restarts")


# ---- making two lists comparable ----

TIMES = ("pm_uptime", "created_at")
# What the library says that pm2 puts into Node apps, and what is pm2's own affair.
NOT_COMPARED = ("axm_actions", "axm_monitor", "axm_options", "axm_dynamic", "node_version", "_pm2_version", "_tree_pids")


def tidy_process(p):
    env = dict(p["pm2_env"])
    variables = env.pop("env")
    for where in (variables, env):
        if where.get(p["name"]) in ({}, "{}"):
            del where[p["name"]]  # the configuration of a pm2 module of that name
    twice = {k: v for k, v in variables.items() if env.get(k) == v and k not in ("args", "status", "name")}
    flat = {k: v for k, v in env.items() if k not in twice and k not in NOT_COMPARED}
    for key in TIMES:
        if key in flat:
            flat[key] = "milliseconds" if isinstance(flat[key], int) and 10**12 < flat[key] < 10**13 else flat[key]
    flat["unique_id"] = tidy_variable("unique_id", env.get("unique_id", ABSENT))
    pid = p.get("pid", ABSENT)
    return {
        "pid": "some" if isinstance(pid, int) and pid > 0 else pid,
        "name": p["name"],
        "pm_id": p["pm_id"],
        "monit": {k: type(v).__name__ if k == "memory" else isinstance(v, (int, float)) for k, v in p["monit"].items()},
        "pm2_env": flat,
        "env": {k: tidy_variable(k, v) for k, v in variables.items()},
        "not twice": sorted(set(variables) - set(twice)),
    }


def tidy_variable(key, value):
    if key == "unique_id":
        return "uuid" if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", str(value)) else value
    if key in TIMES and re.fullmatch(r"\d{13}", str(value)):
        return "milliseconds"
    return value


def differing(a, b, path=""):
    """Yields (path, a's, b's) for what is not the same; what one side lacks as a whole is one difference."""
    if isinstance(a, dict) and isinstance(b, dict):
        for k in [*a, *(k for k in b if k not in a)]:
            yield from differing(a.get(k, ABSENT), b.get(k, ABSENT), f"{path} → {k}" if path else str(k))
    elif a != b or type(a) is not type(b):
        yield path, a, b


def strip_colors(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def summary(processes):
    return ", ".join(f"{p['pm_id']} {p['name']} {p['pm2_env'].get('status')} restarts {p['pm2_env'].get('restart_time')}" for p in processes) or "no process"


def shorten(value):
    text = repr(value)
    return text if len(text) < 200 else text[:200] + "…"


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except FileNotFoundError:
        return ""


# ---- the two sides ----


class Side:
    def __init__(self, name, program, top):
        self.name, self.program, self.top = name, program, os.path.join(top, name)
        self.home = os.path.join(self.top, "pm")
        self.bin = os.path.join(self.top, "bin")
        self.dir = self.top
        self.memory = {}
        for path in (self.home, self.bin):
            os.makedirs(path)
        self.env = {
            "PATH": self.bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:" + os.path.dirname(shutil.which("node") or "/"),
            "HOME": self.top,
            "LC_ALL": "C.UTF-8",
            "PM2_HOME": self.home,
            "PM2_DISCRETE_MODE": "true",
            "PM2_DISABLE_VERSION_CHECK": "true",
            "PM2_WORKER_INTERVAL": "2000",
        }

    def path(self, path):
        """Below the directory of the scenario; PM/x: below the home of the manager."""
        return os.path.join(self.home, path[3:]) if path.startswith("PM/") else os.path.join(self.dir, path)

    def tidy(self, text):
        return text.replace(self.top, "TOP") if isinstance(text, str) else text

    def tidy_all(self, value):
        if isinstance(value, dict):
            return {self.tidy(k): self.tidy_all(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.tidy_all(v) for v in value]
        return self.tidy(value)

    def write(self, path, text, mode=0o755):
        path = os.path.join(self.bin, path[4:]) if path.startswith("BIN/") else self.path(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + "~", "w", encoding="utf-8") as f:
            f.write(text.replace("$TOP", self.top).replace("$HERE", self.dir))
        os.chmod(path + "~", mode)
        os.rename(path + "~", path)

    def run(self, args, stdin=None, env=None, cwd="."):
        def place(text):
            return text and text.replace("$TOP", self.top).replace("$HERE", self.dir).replace("$PM", self.home)

        args = [place(a) for a in args]
        environment = {**self.env, **{k: place(v) for k, v in (env or {}).items()}}
        try:
            r = subprocess.run([self.program, *args], env={k: v for k, v in environment.items() if v is not None}, cwd=self.path(cwd),
                               input=stdin or "",
                               capture_output=True, timeout=PATIENCE, check=False, encoding="utf-8", errors="replace")
        except subprocess.TimeoutExpired as e:
            raise Failed(f"{self.name} {shlex.join(args)} does not end") from e
        if r.returncode < 0 or r.returncode == 127:
            raise Failed(f"{self.name} {shlex.join(args)}: exit status {r.returncode}\n{r.stderr}")
        self.last = f"{shlex.join(args)}: exit status {r.returncode}\n{strip_colors(r.stdout)[-1500:]}{strip_colors(r.stderr)[-1500:]}"
        self.said.append(self.last)
        return r

    def jlist(self):
        text = self.run(["jlist"]).stdout
        self.said.pop()
        try:
            return json.loads(text)
        except json.JSONDecodeError as e:
            raise Failed(f"{self.name} jlist: {e}: {text[:500]!r}") from e

    def processes(self):
        """What jlist says, for who asks again and again."""
        return self.jlist()

    def delete_all(self):
        self.run(["delete", "all"])

    def wait(self, condition, describe):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} does not reach: {describe()}")
            time.sleep(0.05)

    def play(self, number, scenario):
        """What it saw: {label: …}, the error if it got stuck, what the programs said."""
        seen, error = {}, None
        self.memory, self.said, self.dir = {}, [], os.path.join(self.top, f"s{number}")
        os.mkdir(self.dir)
        try:
            for path, text in scenario.files.items():
                self.write(path, *(text if isinstance(text, tuple) else (text,)))
            for i, s in enumerate(scenario.steps, 1):
                saw = s(self)
                if saw is not None:
                    seen[f"{i} {s.label}"] = saw
        except Failed as e:
            error = str(e)
        except (OSError, ValueError, KeyError) as e:
            error = f"{self.name}: {type(e).__name__}: {e}"
        said = self.said
        self.clean()
        return seen, error, said

    def clean(self):
        """An empty list, so that numbers begin at 0 again, and no files of the scenario before."""
        try:
            self.delete_all()
            self.wait(lambda: not self.processes(), lambda: "an empty list")
        except Failed:
            self.kill_left_over()
        for pattern in ("logs/*", "pids/*", "dump.pm2*", "state/saved.json*"):
            for path in glob.glob(os.path.join(self.home, pattern)):
                if os.path.isfile(path):
                    os.unlink(path)

    def stop(self):
        try:
            self.said = []
            self.run(["kill"])
        except Failed:
            pass
        self.kill_left_over()

    def kill_left_over(self):
        """Processes that carry the home of this side in their environment: no one else's do."""
        mark = f"PM2_HOME={self.home}\0".encode()
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and int(entry) != os.getpid():
                    with open(f"/proc/{entry}/environ", "rb") as f:
                        if mark in f.read() + b"\0":
                            os.kill(int(entry), signal.SIGKILL)
            except OSError:
                continue


# pm2's command takes a quarter of a second of CPU to start. This stays and uses pm2's API, for what is not under test.
PM2_CLIENT = """const pm2 = require(process.argv[1]);
const answer = (error, list) => console.log(JSON.stringify(list || []));
pm2.connect(() => require('readline').createInterface({input: process.stdin})
    .on('line', line => line === 'list' ? pm2.list(answer) : pm2.delete('all', answer)).on('close', () => process.exit()));
"""


class Pm2Side(Side):
    client = None

    def ask(self, what):
        if not self.client:
            package = os.path.join(os.path.dirname(os.path.realpath(self.program)), "..")
            self.client = subprocess.Popen(["node", "-e", PM2_CLIENT, package],
                                           env={**self.env, "PM2_PROGRAMMATIC": "true", "PM2_SILENT": "true"},
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
        self.client.stdin.write(what + "\n")
        self.client.stdin.flush()
        for line in self.client.stdout:
            if line.startswith("["):
                return json.loads(line)
        raise Failed("pm2's API does not answer")

    def processes(self):
        return self.ask("list")

    def delete_all(self):
        self.ask("delete")

    def stop(self):
        if self.client:
            self.client.stdin.close()
            self.client.wait()
        super().stop()


# ---- the verdict ----


def compare(scenario, pm2, pmctl):
    """Lines that say what is wrong."""
    (pm2_seen, pm2_error, _), (pmctl_seen, pmctl_error, _) = pm2, pmctl
    faults = [e for e in (pm2_error, pmctl_error) if e]
    stuck = bool(faults)
    used = set()
    for path, x, y in differing(pm2_seen, pmctl_seen):
        if stuck and ABSENT in (x, y) and " → " not in path:
            continue  # a step that was not come to
        reason = next((d for d in scenario.differs + EVERYWHERE if d.explains(path, x, y)), None)
        if reason:
            used.add(reason)
        else:
            faults.append(f"{path}: pm2 {shorten(x)}, pmctl {shorten(y)}")
    faults += [f"no such difference: {d.path}: pm2 {d.pm2!r}, pmctl {d.pmctl!r}" for d in scenario.differs if d not in used and not d.sometimes]
    return faults


def documented(why):
    with open(DIFFERENCES_FILE, encoding="utf-8") as f:
        return any(line.startswith("| " + why) for line in f)


def main(scenarios):
    build = sys.argv[1]
    chosen = [(i, s) for i, s in enumerate(scenarios, 1) if len(sys.argv) < 3 or any(word in s.name for word in sys.argv[2:])]
    programs = {"pm2": os.path.join(build, "pm2", "node_modules", ".bin", "pm2"), "pmd": os.path.join(build, "src", "pmctl")}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that no daemon is left over
    top = tempfile.mkdtemp(prefix="parity-")
    os.chmod(top, 0o755)
    sides = [kind(name, os.path.abspath(program), top) for kind, (name, program) in zip((Pm2Side, Side), programs.items())]
    failed = 0
    try:
        with concurrent.futures.ThreadPoolExecutor(len(sides)) as pool:
            queues = [concurrent.futures.ThreadPoolExecutor(1) for _ in sides]
            for side in sides:
                side.said = []
                side.run(["ping"])
            futures = [[queue.submit(side.play, i, s) for i, s in chosen] for side, queue in zip(sides, queues)]
            for n, ((_, s), pm2, pmctl) in enumerate(zip(chosen, *futures), 1):
                faults = compare(s, pm2.result(), pmctl.result())
                failed += bool(faults)
                print(f"{'not ok' if faults else 'ok'} {n} - {s.name}", flush=True)
                for line in "\n".join(faults + (pm2.result()[2] + ["----"] + pmctl.result()[2] if faults and len(sys.argv) > 2 else [])).splitlines():
                    print("# " + line)
            reasons = sorted({d.why for s in scenarios for d in s.differs + EVERYWHERE})
            unknown = [why for why in reasons if not documented(why)]
            print(f"{'not ok' if unknown else 'ok'} {len(chosen) + 1} - each difference stands in PM2-DIFFERENCES.md")
            print("".join(f"# {why}\n" for why in unknown), end="")
            print(f"1..{len(chosen) + 1}")
            for queue in queues:
                queue.shutdown()
            list(pool.map(Side.stop, sides))
    finally:
        for side in sides:
            side.kill_left_over()
        shutil.rmtree(top, ignore_errors=True)
    return 1 if failed or unknown else 0
