#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The saved list and the settings, against private pmds. Argument: the build directory."""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

from pmdtest import PATIENCE, Tap, kill_for_good, wait_until

OK, FAILED, USAGE = 0, 1, 2
SLEEPER = "#!/bin/sh\nwhile :; do sleep 1; done\n"


class Home:
    """One private pmd, with a directory for scripts."""

    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.dir = tempfile.mkdtemp(prefix="pmd-save-")
        self.home = os.path.join(self.dir, "home")
        self.saved = os.path.join(self.home, "state", "saved.json")
        self.env = {"PATH": os.environ["PATH"], "HOME": self.dir, "PMD_HOME": self.home, "LC_ALL": "C.UTF-8"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]
        self.daemon = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.run("kill")
        if self.daemon:
            self.daemon.wait(PATIENCE)
        log = self.log()
        shutil.rmtree(self.dir, ignore_errors=True)
        if "Sanitizer" in log and not exc[0]:
            raise RuntimeError(log)

    def run(self, *args, **env):
        return subprocess.run(
            [os.path.join(self.build, "src", "pmctl"), *args], env={**self.env, **env}, cwd=self.dir, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=3 * PATIENCE, check=False, encoding="utf-8",
        )

    def log(self):
        try:
            with open(os.path.join(self.home, "pmd.log"), encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def script(self, name, text=SLEEPER):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)
        return path

    def start(self, name, *args, **env):
        self.script(name + ".sh")
        r = self.run("start", name + ".sh", "--name", name, *args, **env)
        if r.returncode != OK:
            raise RuntimeError(r.stdout + r.stderr)

    def processes(self):
        return sorted(json.loads(self.run("jlist").stdout), key=lambda p: p["pm_id"])

    def brief(self):
        return [(p["pm_id"], p["name"], p["pm2_env"]["NODE_APP_INSTANCE"], p["pm2_env"]["status"]) for p in self.processes()]

    def pid(self):
        with open(os.path.join(self.home, "run", "pmd.lock"), encoding="utf-8") as f:
            return int(f.read())

    def crash(self):
        """pmd and everything it runs is gone, as after a loss of power."""
        victims, pid = self.app_pids(), self.pid()
        kill_for_good(pid)
        if self.daemon:
            self.daemon.wait()
            self.daemon = None
        wait_until(lambda: not alive(pid), "the end of pmd")
        self.kill_apps(victims)
        self.forget_processes()

    def forget_processes(self):
        """What the next pmd would take over."""
        for name in ("processes", "definitions"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.home, "run", name))

    def app_pids(self):
        return [p["pid"] for p in self.processes() if p["pid"]]

    def kill_apps(self, pids):
        for victim in pids:
            try:
                os.killpg(victim, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def serve(self, *args):
        """pmd in the foreground."""
        self.daemon = subprocess.Popen(
            [os.path.join(self.build, "src", "pmd"), "--private=" + self.home, *args], env=self.env, cwd="/", stderr=subprocess.DEVNULL,
        )
        wait_until(self.daemon_has_lock, "pmd to have the lock, without which a client would start another")
        wait_until(lambda: self.run("ping").returncode == OK, "pmd")

    def daemon_has_lock(self):
        with contextlib.suppress(OSError, ValueError):
            return self.pid() == self.daemon.pid
        return False

    def read(self, path):
        with open(path, "rb") as f:
            return f.read()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def expect(tap, r, code, name, stdout=(), stderr=(), no_stderr=()):
    ok = r.returncode == code and all(s in r.stdout for s in stdout) and all(s in r.stderr for s in stderr)
    ok = ok and not any(s in r.stderr for s in no_stderr)
    tap.check(ok and "Sanitizer" not in r.stderr, name, f"expected {code}\nexit status {r.returncode}\nstdout: {r.stdout[:2000]}\nstderr: {r.stderr[:2000]}")


def check_empty(tap, h):
    expect(tap, h.run("resurrect"), OK, "resurrect of what was never saved", stderr=["No processes saved; DUMP file doesn't exist"])
    expect(tap, h.run("save"), OK, "save of an empty list", stderr=["[PM2][WARN] PM2 is not managing", "[PM2][WARN] To force"])
    tap.check(not os.path.exists(h.saved), "which writes nothing")
    expect(tap, h.run("save", "--force"), OK, "save --force", stdout=["Successfully saved in " + h.saved])
    expect(tap, h.run("resurrect"), OK, "resurrect of an empty list", stdout=["Restoring processes located in " + h.saved])


def check_round_trip(tap, h):
    h.start("a", "-i", "3", SECRET="s3cret \u00e4")
    h.start("b", "--kill-timeout", "2500", "--", "x y", "z")
    h.start("stopped")
    h.run("start", "a.sh", "--name", "a", "-f", "--namespace", "other")
    h.run("stop", "stopped")
    h.run("delete", "0")
    before = h.brief()
    tap.equal(before, [(1, "a", 1, "online"), (2, "a", 2, "online"), (3, "b", 0, "online"), (4, "stopped", 0, "stopped"), (5, "a", 3, "online")],
              "what is to be saved")
    expect(tap, h.run("dump"), OK, "dump")
    tap.equal(stat.S_IMODE(os.stat(h.saved).st_mode), 0o600, "the list is its owner's only")

    h.crash()
    expect(tap, h.run("resurrect"), OK, "resurrect", stdout=[f"Process {h.dir}/a.sh restored"], no_stderr=["WARN"])
    tap.equal(h.brief(), [(i, *p[1:]) for i, p in enumerate(before)], "ids from 0, instances as they were, what was stopped is stopped")
    by_id = {p["pm_id"]: p["pm2_env"] for p in h.processes()}
    tap.equal(by_id[0]["env"].get("SECRET"), "s3cret \u00e4", "with the environment")
    tap.equal((by_id[0]["namespace"], by_id[4]["namespace"]), ("default", "other"), "and each with its own definition")
    tap.equal((by_id[2]["args"], by_id[2]["kill_timeout"]), (["x y", "z"], 2500), "arguments and options")
    tap.equal(by_id[0]["pm_cwd"], h.dir, "working directory")

    h.run("delete", "a")
    r = h.run("resurrect")
    expect(tap, r, OK, "resurrect beside what runs", stderr=["b is there already", "stopped is there already"], no_stderr=["a is there"])
    tap.equal(sorted(p[1] for p in h.brief()), ["a", "a", "a", "b", "stopped"], "adds what is missing only")
    h.run("delete", "all")


def check_missing(tap, h):
    h.start("gone")
    h.start("here")
    h.run("save")
    h.crash()
    os.unlink(os.path.join(h.dir, "gone.sh"))
    r = h.run("resurrect")
    expect(tap, r, FAILED, "resurrect without a script", stderr=[f"[gone](0) Script not found: {h.dir}/gone.sh"], stdout=["here.sh restored"])
    tap.equal(h.brief(), [(0, "gone", 0, "errored"), (1, "here", 0, "online")], "keeps the app, as errored")
    tap.check("gone) cannot be started: Script not found" in h.log(), "pmd logs the reason", h.log())
    h.run("save")
    h.script("gone.sh")
    expect(tap, h.run("restart", "gone"), OK, "when the script is back it can be started")
    h.crash()
    h.run("resurrect")
    tap.equal(h.brief(), [(0, "gone", 0, "online"), (1, "here", 0, "online")], "a list saved while it was missing is as good")
    h.run("delete", "all")


def check_damage(tap, h):
    for f in (h.saved, h.saved + ".1", h.saved + ".2"):
        if os.path.exists(f):
            os.unlink(f)
    for name in ("one", "two", "three", "four"):
        h.start(name)
        h.run("save")
    h.run("delete", "all")
    names = [sorted(a["resolved"]["name"] for a in json.loads(h.read(f))["apps"]) for f in (h.saved, h.saved + ".1", h.saved + ".2")]
    tap.equal(names, [["four", "one", "three", "two"], ["one", "three", "two"], ["one", "two"]], "three generations are kept")

    with open(h.saved, "r+b") as f:
        f.seek(200)
        f.write(b"\0")
    expect(tap, h.run("resurrect"), OK, "a damaged list: the one before", stderr=["saved.json is damaged", "saved.json.1 is used instead"])
    tap.equal([p[1] for p in h.brief()], ["one", "two", "three"], "is restored")
    h.run("delete", "all")

    os.truncate(h.saved + ".1", 0)
    expect(tap, h.run("resurrect"), OK, "and an empty one: the one before", stderr=["saved.json.1 is empty", "saved.json.2 is used instead"])
    tap.equal([p[1] for p in h.brief()], ["one", "two"], "is restored")
    h.run("delete", "all")

    os.truncate(h.saved + ".2", 100)
    expect(tap, h.run("resurrect"), FAILED, "none that is good: an error", stderr=["saved.json.2 is damaged"])
    tap.equal(h.brief(), [], "and nothing is started")

    h.start("five")
    h.run("save")
    h.crash()
    expect(tap, h.run("resurrect"), OK, "saving again makes it good", no_stderr=["WARN"])
    expect(tap, h.run("cleardump"), OK, "cleardump", stdout=["Successfully created " + h.saved])
    h.crash()
    h.run("resurrect")
    tap.equal(h.brief(), [], "leaves nothing to restore")


def check_full_disk(tap, h):
    state = os.path.join(h.home, "state")
    os.makedirs(state, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "pmd-test", state], check=False).returncode != 0:
        tap.check(True, "a full disk # SKIP cannot mount")
        return
    try:
        h.start("one")
        expect(tap, h.run("save"), OK, "save while there is space")
        before = h.read(h.saved)
        with open(os.path.join(state, "filler"), "wb", buffering=0) as f:
            try:
                while True:
                    f.write(bytes(1024))
            except OSError:
                pass
        h.start("two")
        expect(tap, h.run("save"), FAILED, "save on a full disk fails", stderr=["No space left on device", "is as it was"])
        tap.equal(h.read(h.saved), before, "and the list is as it was")
        tap.equal(sorted(os.listdir(state)), ["filler", "saved.json"], "with nothing left beside it")
        tap.equal([p[1] for p in h.brief()], ["one", "two"], "pmd goes on")
        os.unlink(os.path.join(state, "filler"))
        expect(tap, h.run("save"), OK, "and saves when there is space again")
        tap.equal(json.loads(h.read(h.saved + ".1")), json.loads(before), "the generation before is kept")
    finally:
        h.run("kill")
        subprocess.run(["umount", state], check=False)


def check_sudden_death(tap, h):
    """pmd is killed while it saves, again and again; whatever was saved last can be read."""
    bad = []
    h.start("a")
    h.run("save")

    def save_until_it_ends(names):
        def call(*args):
            return subprocess.run(
                ["busctl", "--address=unix:path=" + os.path.join(h.home, "run", "pmd.sock"), "call", "org.pmd1", "/org/pmd1", "org.pmd1.Manager", *args],
                capture_output=True, timeout=PATIENCE, check=False).returncode == 0
        for name in names:
            if not call("StartApp", "a{sv}a{sv}", "4", "name", "s", name, "script", "s", h.dir + "/a.sh", "cwd", "s", "/", "autostart", "b", "false", "0") \
                    or not call("Save", "b", "false"):
                return

    for i in range(12):
        apps, pid = h.app_pids(), h.pid()
        worker = threading.Thread(target=save_until_it_ends, args=([f"n{i}-{k}" for k in range(1000)],))
        worker.start()
        time.sleep(0.05 * (i % 4) + 0.2)
        kill_for_good(pid)
        worker.join()
        h.kill_apps(apps)
        h.forget_processes()
        r = h.run("resurrect")
        if r.returncode != OK or r.stderr or h.brief()[0][1] != "a":
            bad.append(r.stderr or h.brief())
        h.run("delete", "/^n/")
    tap.equal(bad, [], "killed while it saves: the list is always whole")


def check_boot(tap, h):
    h.start("up")
    h.start("down")
    h.run("stop", "down")
    h.run("save")
    h.run("kill")

    both = [(0, "up", 0, "online"), (1, "down", 0, "stopped")]
    h.serve()
    tap.equal(h.brief(), [], "a private pmd restores nothing by itself")
    h.run("kill")
    h.daemon.wait()
    h.serve("--resurrect")
    wait_until(lambda: len(h.brief()) == 2 and h.brief()[0][3] == "online", "the saved list")
    tap.equal(h.brief(), both, "--resurrect restores the list")
    h.crash()
    h.serve("--resurrect")
    tap.equal(h.brief(), [], "but not after a crash: that would make second copies")
    h.daemon.send_signal(signal.SIGTERM)
    h.daemon.wait()
    h.serve("--resurrect")
    wait_until(lambda: len(h.brief()) == 2 and h.brief()[0][3] == "online", "the saved list")
    tap.equal(h.brief(), both, "after an orderly restart it does")
    h.run("kill")
    h.daemon.wait()
    h.serve("--resurrect")
    tap.equal(h.brief(), [], "pmctl kill is meant to last")
    h.run("kill")
    h.daemon.wait()
    h.daemon = None


def signal_of_stop(h, name):
    """With which signal the app is asked to end."""
    told = os.path.join(h.dir, name + ".signal")
    h.script(name + ".sh", f"#!/bin/sh\nfor s in INT TERM USR1; do trap \"echo $s >{told}; exit\" $s; done\n"
                           f"echo up >{told}\nwhile :; do sleep 0.1; done\n")
    h.run("start", name + ".sh", "--name", name)
    wait_until(lambda: os.path.exists(told) and h.read(told) == b"up\n", "the app")
    h.run("delete", name)
    return h.read(told).decode().strip()


def check_settings(tap, h):
    conf = os.path.join(h.home, "pmd.conf")
    drop_in = os.path.join(h.home, "pmd.conf.d", "50-pmctl.conf")

    expect(tap, h.run("get"), OK, "get without settings")
    tap.check(not os.path.exists(os.path.join(h.home, "run")), "asking for settings starts no pmd")
    expect(tap, h.run("set", "KillTimeout", "12Q"), USAGE, "a value of the wrong kind", stderr=["KillTimeout: '12Q' is no duration"])
    expect(tap, h.run("set", "KilTimeout", "1"), USAGE, "a setting that does not exist", stderr=["KilTimeout is no setting", "KillTimeout"])
    expect(tap, h.run("set", "pmd:nope", "1"), USAGE, "another", stderr=["nope is no setting"])
    expect(tap, h.run("set", "a:__proto__:b", "1"), USAGE, "a key that pm2 refuses too")
    tap.check(not os.path.exists(drop_in), "nothing was written")

    tap.equal(signal_of_stop(h, "sig0"), "INT", "apps are asked by SIGINT")
    expect(tap, h.run("set", "KillSignal", "SIGUSR1"), OK, "set", stdout=["[PM2] Setting changed"])
    expect(tap, h.run("get", "KillSignal"), OK, "get", stdout=["SIGUSR1"])
    tap.equal(stat.S_IMODE(os.stat(drop_in).st_mode), 0o600, "the file is its owner's only")
    tap.equal(signal_of_stop(h, "sig1"), "USR1", "pmd has read it")
    expect(tap, h.run("unset", "KillSignal"), OK, "unset")
    tap.equal(signal_of_stop(h, "sig2"), "INT", "pmd has read that too")

    with open(conf, "w", encoding="utf-8") as f:
        f.write("[Manager]\nKillSignal=TERM\nNoSuch=1\nMinUptime=soon\n")
    tap.equal(signal_of_stop(h, "sig3"), "INT", "a file is not read before SIGHUP")
    os.kill(h.pid(), signal.SIGHUP)
    wait_until(lambda: "NoSuch" in h.log(), "the settings")
    tap.equal(signal_of_stop(h, "sig4"), "TERM", "but then")
    tap.check("MinUptime: 'soon'" in h.log(), "and its faults are logged", h.log())
    expect(tap, h.run("unset", "KillSignal"), FAILED, "what others have written is theirs", stderr=["KillSignal is still set"])

    h.start("mod")
    restarts = h.processes()[0]["pm2_env"]["restart_time"]
    expect(tap, h.run("set", "mod:token", "a b=c"), OK, "set for an app", stdout=["Module: mod", "$ pmctl set mod:token a b=c"])
    env = h.run("env", "mod").stdout
    tap.check("token: a b=c" in env and 'mod: {"token":"a b=c"}' in env, "is in its environment", env)
    tap.equal(h.processes()[0]["pm2_env"]["restart_time"], restarts + 1, "with which it was restarted")
    expect(tap, h.run("multiset", "mod:a 1 mod.b.c 'two words'"), OK, "multiset")
    expect(tap, h.run("conf", "mod:b:c"), OK, "conf reads", stdout=["Value for module mod key b.c: two words"])
    expect(tap, h.run("config", "mod:a", "7"), OK, "config writes")
    expect(tap, h.run("multiset", "mod:a"), USAGE, "multiset with a key only")
    tap.equal(json.loads(h.run("get", "--json").stdout).get("mod"), {"token": "a b=c", "a": "7", "b.c": "two words"}, "get --json")
    expect(tap, h.run("get", "mod:nope"), FAILED, "get of what is not set")
    expect(tap, h.run("unset", "mod"), OK, "unset of a module")
    tap.check("mod" not in json.loads(h.run("get", "--json").stdout), "takes all of it back")


def check_import(tap, h):
    pm2 = os.path.join(h.dir, ".pm2")
    os.mkdir(pm2)
    h.script("web.sh")
    base = {
        "pm_cwd": h.dir, "pm_exec_path": os.path.join(h.dir, "web.sh"), "exec_interpreter": "bash", "exec_mode": "fork_mode", "namespace": "shop",
        "node_args": [], "autorestart": True, "autostart": True, "vizion": True, "merge_logs": True, "treekill": True,
        "instance_var": "NODE_APP_INSTANCE", "pm_out_log_path": pm2 + "/logs/web-out.log", "pm_pid_path": pm2 + "/pids/web-0.pid",
        "pm_err_log_path": os.path.join(h.dir, "own-error.log"), "status": "online", "pm_uptime": 1, "unique_id": "u", "axm_options": {},
    }
    env = {"PATH": h.env["PATH"], "COLOR": "red", "PM2_HOME": pm2, "web": {}, "N": 5, "unique_id": "u", "watch": "nobody"}
    dump = [
        {**base, "name": "web", "args": ["-p", "80 80"], "kill_timeout": 2000, "max_restarts": 3, "env": env, "COLOR": "red", "NODE_APP_INSTANCE": 0},
        {**base, "name": "web", "args": ["-p", "80 80"], "kill_timeout": 2000, "max_restarts": 3, "env": env, "NODE_APP_INSTANCE": 1},
        {**base, "name": "idle", "status": "stopped", "env": env, "watch": "nobody"},
        {**base, "name": "lost", "pm_exec_path": "/nonexistent/lost.js", "env": env},
    ]
    with open(os.path.join(pm2, "dump.pm2"), "w", encoding="utf-8") as f:
        json.dump(dump, f)

    r = h.run("import", "pm2")
    expect(tap, r, FAILED, "import pm2", stdout=["web imported (2 instances)", "idle imported (1 instance, stopped)"], stderr=["lost"])
    tap.equal(h.brief(), [(0, "web", 0, "online"), (1, "web", 1, "online"), (2, "idle", 0, "stopped")], "makes what it can")
    p = h.processes()[0]["pm2_env"]
    tap.equal((p["args"], p["kill_timeout"], p["max_restarts"], p["namespace"], p["pm_exec_path"]),
              (["-p", "80 80"], 2000, 3, "shop", os.path.join(h.dir, "web.sh")), "with its options")
    tap.equal((p["env"].get("COLOR"), p["env"].get("N")), ("red", "5"), "and its environment")
    tap.check(p["pm_out_log_path"].startswith(h.home) and p["pm_err_log_path"].startswith(os.path.join(h.dir, "own-error")), "pm2's default files become pmd's", p)
    tap.equal(h.processes()[2]["pm2_env"]["watch"], False, "a variable with the name of an option is none")
    r = h.run("import", "pm2", os.path.join(pm2, "dump.pm2"))
    expect(tap, r, FAILED, "import once more", stdout=["web is there already", "idle is there already"])
    tap.equal(len(h.brief()), 3, "adds nothing")
    expect(tap, h.run("import", "pm2", "/nonexistent"), FAILED, "import of no file", stderr=["Failed to read dump file in /nonexistent"])
    expect(tap, h.run("import", "forever"), USAGE, "import of something else")


def check_startup(tap, h):
    expect(tap, h.run("startup", "nosuch"), USAGE, "startup for an unknown platform", stderr=["Unknown platform / init system name"])
    for word in ("upstart", "launchd", "openrc"):
        expect(tap, h.run("startup", word), FAILED, f"startup {word}", stderr=["by systemd only"])
    for verb in ("startup", "unstartup"):
        expect(tap, h.run(verb, "systemd"), FAILED, f"{verb} of a private pmd", stderr=["pmd --keeper --private=DIR --resurrect"])


def main():
    tap = Tap()
    # Mounts are nobody else's, and end with the test.
    ctypes.CDLL(None).unshare(0x00020000)
    subprocess.run(["mount", "--make-rprivate", "/"], stderr=subprocess.DEVNULL, check=False)

    for checks in ((check_empty, check_round_trip, check_missing, check_damage), (check_full_disk,), (check_sudden_death,), (check_boot,),
                   (check_settings,), (check_import,), (check_startup,)):
        with Home(sys.argv[1]) as h:
            for check in checks:
                check(tap, h)
    return tap.done()


sys.exit(main())
