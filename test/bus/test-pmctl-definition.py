#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What pmctl changes of apps that there are: restart with options, scale, reset; and tables. Argument: the build directory."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

from pmctltest import FAILED, NO_SUCH_APP, OK, USAGE, expect, run_checks, show
from pmdtest import PATIENCE, wait_until

HINT = "Use --update-env to update environment variables\n"


def start(pm, name, *options, **env):
    r = pm.run("start", "/bin/sleep", "-n", name, *options, "--", "1000", **env)
    if r.returncode != OK:
        raise RuntimeError(show(r))


def environment(pid):
    with open(f"/proc/{pid}/environ", "rb") as f:
        return dict(e.split("=", 1) for e in f.read().decode().split("\0") if "=" in e)


def arguments(pid):
    with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
        return f.read().split("\0")[1:-1]


def on_terminal(pm, columns, *args, **env):
    """What pmctl writes to a terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    p = subprocess.Popen([pm.pmctl, *args], env={**pm.env, "TERM": "xterm", **env}, stdin=subprocess.DEVNULL, stdout=theirs)
    os.close(theirs)
    data = b""
    while True:
        try:
            got = os.read(ours, 65536)
        except OSError:  # nobody has it open any more
            break
        if not got:
            break
        data += got
    os.close(ours)
    p.wait(PATIENCE)
    return data.decode().replace("\r\n", "\n")


def check_restart(tap, pm):
    start(pm, "web", "-k", "3000", SHELL_ONE="1", SHELL_TWO="1")
    before = pm.process("web")
    r = pm.run("restart", "web", "--max-restarts", "5", "--", "2000", "7")
    expect(tap, r, OK, "restart with options", [HINT, "[PM2] Applying action restartProcessId on app [web](ids: [ 0 ])\n", "[PM2] [web](0) ✓\n"])
    p = pm.process("web")
    tap.equal((p["pm2_env"].get("max_restarts"), p["pm2_env"].get("kill_timeout")), (5, 3000), "what was given is changed, the rest stays")
    tap.equal((p["pm2_env"]["args"], arguments(p["pid"])), (["2000", "7"], ["2000", "7"]), "so are the arguments")
    tap.check(p["pid"] != before["pid"], "it was restarted")
    tap.equal(environment(p["pid"]).get("SHELL_ONE"), "1", "the environment is not touched")

    pm.run("restart", "web", SHELL_ONE="2")
    tap.equal(environment(pm.process("web")["pid"]).get("SHELL_ONE"), "1", "not by a restart from another shell either")
    r = pm.run("restart", "web", "--update-env", SHELL_ONE="2")
    tap.check(r.returncode == OK and HINT not in r.stdout, "--update-env needs no hint", show(r))
    env = environment(pm.process("web")["pid"])
    tap.equal((env.get("SHELL_ONE"), env.get("SHELL_TWO")), ("2", None), "--update-env takes the present environment, the whole of it")
    tap.equal(pm.process("web")["pm2_env"]["args"], ["2000", "7"], "and keeps the arguments")

    expect(tap, pm.run("restart", "web", "--kill-timeout=null"), OK, "null")
    tap.equal(pm.process("web")["pm2_env"].get("kill_timeout"), None, "takes an option back")
    expect(tap, pm.run("start", "web", "--kill-timeout", "2000", "-a"), OK, "start of a name", ["Process successfully started"])
    tap.equal(pm.process("web")["pm2_env"].get("kill_timeout"), 2000, "takes options too")
    pm.run("stop", "web")
    expect(tap, pm.run("start", "/bin/sleep", "-n", "web", "--restart-delay", "7"), OK, "start of a stopped script", ["restartProcessId"])
    tap.equal(pm.process("web")["pm2_env"].get("restart_delay"), 7, "takes options as well")
    os.makedirs(os.path.join(pm.dir, "sub"), exist_ok=True)
    pm.run("restart", "web", "--cwd", "sub")
    tap.equal(pm.process("web")["pm2_env"]["pm_cwd"], os.path.join(pm.dir, "sub"), "a directory is the caller's")


def check_refused(tap, pm):
    pid = pm.process("web")["pid"]
    expect(tap, pm.run("restart", "web", "--kill-timeout", "12Q"), USAGE, "a wrong value", stderr=["kill_timeout", "12Q"])
    expect(tap, pm.run("restart", "web", "--cwd", "/no/where"), FAILED, "a missing directory", stderr=["/no/where"])
    expect(tap, pm.run("restart", "web", "--name", "new"), FAILED, "another name", stderr=["name: "])
    expect(tap, pm.run("restart", "web", "--env", "production"), FAILED, "--env without a file",
           stderr=["Using --env [env] without passing the ecosystem.config.js does not work"])
    tap.equal(pm.process("web")["pid"], pid, "none of this restarts it")
    r = pm.run("restart", "web", "--dry-run", "--kill-timeout", "1")
    expect(tap, r, OK, "--dry-run", ["Would apply action restartProcessId on app [web](ids: [ 0 ])"])
    expect(tap, pm.run("start", "/bin/sleep", "-n", "dry", "--dry-run"), OK, "--dry-run of a start", ["Would start /bin/sleep in fork_mode (1 instance)"])
    tap.equal((len(pm.jlist()), pm.process("web")["pid"], pm.process("web")["pm2_env"]["kill_timeout"]), (1, pid, 2000), "does nothing")


def check_watch_toggles(tap, pm):
    start(pm, "watched", "--watch", "--cwd", pm.dir + "/sub")
    tap.equal(pm.process("watched")["pm2_env"]["watch"], True, "watched")
    pm.run("restart", "watched", "--watch")
    tap.equal(pm.process("watched")["pm2_env"]["watch"], False, "restart --watch turns it off")
    pm.run("restart", "watched", "--watch")
    tap.equal(pm.process("watched")["pm2_env"]["watch"], True, "and on again")
    pm.run("delete", "watched")


def check_reload(tap, pm):
    r = pm.run("reload", "web", "--max-restarts", "6")
    expect(tap, r, OK, "reload", [HINT, "Applying action reloadProcessId on app [web]", "[web](0) ✓"])
    tap.check("│" not in r.stdout, "prints no table", r.stdout)
    tap.equal(pm.process("web")["pm2_env"]["max_restarts"], 6, "and takes options")
    expect(tap, pm.run("gracefulReload", "web"), OK, "gracefulReload", ["softReloadProcessId"])


def check_scale(tap, pm):
    expect(tap, pm.run("scale", "web", "3"), OK, "scale up", ["[PM2] Scaling up application web\n", "│ web"])
    tap.equal(len(pm.status("web")), 3, "there are three")
    expect(tap, pm.run("scale", "web", "+2"), OK, "scale +2", ["Scaling up application web"])
    tap.equal([p["pm2_env"]["NODE_APP_INSTANCE"] for p in pm.jlist()], [0, 1, 2, 3, 4], "two more")
    ids = [p["pm_id"] for p in pm.jlist()]
    expect(tap, pm.run("scale", "web", "-2"), OK, "scale -2", ["Scaling down application web"])
    tap.equal([p["pm_id"] for p in pm.jlist()], ids[2:], "the lowest go first")
    expect(tap, pm.run("scale", "web", "1", "--dry-run"), OK, "scale --dry-run", ["Would scale down application web"])
    expect(tap, pm.run("scale", "web", "3"), FAILED, "as many as there are", stderr=["[PM2][ERROR] Nothing to do"])
    expect(tap, pm.run("scale", "nope", "3"), NO_SUCH_APP, "an app that is not there", stderr=["Application nope not found"])
    for n in ("x", "1.5", "", "+", "--", "99999999999"):
        tap.check(pm.run("scale", "web", n).returncode == USAGE, f"{n!r} is no number of processes")
    expect(tap, pm.run("scale", "web", "-9"), FAILED, "fewer than none", stderr=["cannot have -6 processes"])
    tap.equal(len(pm.status("web")), 3, "nothing of this changes anything")
    pm.run("scale", "web", "1")


def check_namespaces_and_reset(tap, pm):
    start(pm, "one", "--namespace", "group", "-i", "2")
    start(pm, "two", "--namespace", "group")
    names = ["one", "one", "two"]
    for verb in ("stop", "restart", "reload", "reset"):
        expect(tap, pm.run(verb, "group"), OK, f"{verb} of a namespace")
    tap.equal([p["name"] for p in pm.jlist() if p["pm2_env"]["restart_time"] == 0 and p["pm2_env"]["namespace"] == "group"], names, "reset all of it")
    pm.run("sendSignal", "KILL", "group")
    wait_until(lambda: all(p["pm2_env"]["restart_time"] == 1 for p in pm.jlist() if p["name"] in names), "the restarts")
    for target, n in (("two", 1), ("/^on/", 2), ("all", 4)):
        r = pm.run("reset", target)
        tap.equal((r.returncode, r.stdout.count("Resetting meta for process id")), (OK, n), f"reset {target}")
    tap.check(pm.run("reset", "nope").returncode == NO_SUCH_APP, "reset of nobody")
    expect(tap, pm.run("delete", "group"), OK, "delete of a namespace", ["[one](", "[two]("])
    tap.equal({p["name"] for p in pm.jlist()}, {"web"}, "deletes all of it")


def check_tables(tap, pm):
    start(pm, "n" * 60)
    for columns, last, width in ((200, "watching", 40), (100, "mem", 20), (60, "mem", 16)):
        text = on_terminal(pm, columns, "list", NO_COLOR="1")
        lines = text.splitlines()
        tap.check(all(len(line) <= columns for line in lines) and len({len(line) for line in lines}) == 1, f"a table in {columns} columns", text)
        tap.check(lines[1].rstrip(" │").endswith(last) and "\x1b" not in text, f"ends with {last}, and has no colours if there is NO_COLOR", text)
        cut = next((cell.strip() for cell in text.replace("\n", "│").split("│") if "…" in cell), "")
        tap.equal(cut, "n" * (len(cut) - 1) + "…", "what is too long is cut")
        tap.check(len(cut) <= width - 2, f"to {width}", text)
    tap.check("\x1b[1;36mid" in on_terminal(pm, 200, "list"), "a terminal gets colours")
    tap.check("+----+" in on_terminal(pm, 200, "list", LC_ALL="C"), "and lines of the characters that it knows")
    tap.check("┌────┬" in pm.run("list", LC_ALL="C").stdout, "a pipe gets the same in every locale")


sys.exit(run_checks((check_restart, check_refused, check_watch_toggles, check_reload, check_scale, check_namespaces_and_reset, check_tables)))
