# SPDX-License-Identifier: MIT
"""Every verb of pm2 works or says what to do instead; a mistyped one is guessed; monit on a terminal; report."""

import os
import pty
import select
import subprocess
import time

from pmctltest import OK, USAGE, expect, run_checks, show
from pmdtest import PATIENCE, wait_until

# Of pm2 7.0.
VERBS = """start trigger deploy startOrRestart startOrReload pid create startOrGracefulReload stop restart scale profile:mem profile:cpu reload id
inspect delete sendSignal ping updatePM2 update install module:install module:update module:generate uninstall module:uninstall package publish
module:publish set multiset get conf config unset report link unlink monitor unmonitor open plus register login logout dump save cleardump send
attach resurrect unstartup startup logrotate ecosystem init reset describe desc info show env list ls l ps status jlist sysmonit slist sysinfos
prettylist monit imonit dashboard dash flush reloadLogs logs kill pull forward backward deepUpdate serve expose autoinstall examples completion
install-otel uninstall-otel""".split()
HARMLESS = ["link", "unlink", "login", "logout", "register", "open", "monitor", "unmonitor", "logrotate", "interact"]


def check_verbs(tap, pm):
    unknown = [v for v in VERBS if "Command not found" in pm.run(v, "--help").stderr + pm.run("help", v).stderr]
    tap.equal(unknown, [], "every verb of pm2 is known, or answered")
    tap.check("Command not found" in pm.run("help", "nosuchverb").stderr, "which is told from one that is not")
    for v in HARMLESS:
        expect(tap, pm.run(v), OK, f"{v} is harmless", [f"[PM2] {v}: nothing to do, "])
    expect(tap, pm.run("install", "pm2-logrotate"), OK, "so is the one module that is built in", ["[PM2] install: nothing to do, log files are rotated"])
    expect(tap, pm.run("install", "pm2-other"), USAGE, "others are not", stderr=["there are no modules"])
    expect(tap, pm.run("deploy", "production", "setup"), USAGE, "what is not pmd's has an advice", stderr=["pmctl has no deploy: ", "startOrReload"])
    expect(tap, pm.run("serve", "www", "8080", "--spa", "--name", "front"), USAGE, "with pm2's options too", stderr=["pmctl has no serve: "])
    expect(tap, pm.run("install", "pm2-logrotate", "--safe"), OK, "and what is harmless stays so", ["nothing to do"])
    expect(tap, pm.run("serve", ".", "8080"), USAGE, "serve", stderr=["python3 -m http.server"])


def check_cron_goes_on(tap, pm):
    """Stopping an app does not stop its clock, and that is told once."""
    pm.run("start", "/bin/sleep", "--name", "clock", "-i", "2", "-c", "0 0 1 1 *", "--", "1000")
    pm.run("start", "/bin/sleep", "--name", "none", "-c", "0", "--", "1000")
    r = pm.run("stop", "clock", "none")
    tap.check(r.returncode == OK and r.stderr.count("App clock stopped but CRON RESTART is still UP 0 0 1 1 *") == 1 and "none" not in r.stderr,
              "stop tells of cron", show(r))
    tap.check("CRON" not in pm.run("restart", "clock").stderr, "restart does not")
    pm.run("delete", "all")


def check_guesses(tap, pm):
    for typed, meant in (("strat", "start"), ("lst", "list"), ("restrat", "restart"), ("reloadlogs", "reloadLogs"), ("desribe", "describe"), ("wy", "why")):
        expect(tap, pm.run(typed), USAGE, f"{typed} is guessed", stderr=[f"Command not found: {typed}. Did you mean: pmctl {meant}\n"])
    r = pm.run("xyzzyplugh")
    expect(tap, r, USAGE, "nothing is guessed where nothing is near", stderr=["Command not found: xyzzyplugh. pmctl --help"])
    expect(tap, pm.run("a\x1b[2J" + "b" * 100), USAGE, "a long word with control characters", stderr=["a\\x1b[2Jb"])


def check_report(tap, pm):
    pm.run("kill")
    expect(tap, pm.run("report"), OK, "report without a pmd", ["pmctl ", "kernel ", "pmd            does not answer"])
    tap.check(pm.run("ping").returncode == OK, "a pmd")
    pm.run("start", "/bin/sleep", "--name", "sleeper", "-s", "--", "1000")
    expect(tap, pm.run("report"), OK, "report", ["private instance, " + pm.env["PMD_HOME"], "sleeper", "online", "Its last messages", "serves the private instance"])


class Terminal:
    def __init__(self, pm, *args):
        self.fd, theirs = pty.openpty()
        self.text = b""
        self.process = subprocess.Popen([pm.pmctl, *args], env={**pm.env, "TERM": "xterm"}, cwd=pm.dir, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)

    def sees(self, text):
        deadline = time.monotonic() + PATIENCE
        while text not in self.text and time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.fd, 65536)
                except OSError:
                    break
        found = text in self.text
        self.text = self.text[self.text.find(text) + len(text):] if found else self.text
        return found


def check_monit(tap, pm):
    expect(tap, pm.run("monit"), USAGE, "monit needs a terminal", stderr=["needs a terminal"])
    pm.run("start", "/bin/sleep", "--name", "watched", "-s", "--", "1000")
    t = Terminal(pm, "monit")
    tap.check(t.sees(b"\x1b[?1049h") and t.sees(b"watched"), "monit shows the list on a screen of its own", t.text)
    pm.run("start", "/bin/sleep", "--name", "newcomer", "-s", "--", "1000")
    tap.check(t.sees(b"newcomer"), "and what has changed", t.text)
    os.write(t.fd, b"q")
    tap.check(t.sees(b"\x1b[?1049l"), "q gives the screen back", t.text)
    tap.equal(t.process.wait(PATIENCE), 0, "and ends it")
    t = Terminal(pm, "dash")
    tap.check(t.sees(b"watched"), "another name of it", t.text)
    t.process.terminate()
    tap.check(t.sees(b"\x1b[?1049l"), "the screen is given back after a signal, too", t.text)
    tap.equal(t.process.wait(PATIENCE), 0, "the end")
    wait_until(lambda: pm.run("ping").returncode == OK, "pmd, which lives on")


raise SystemExit(run_checks([check_verbs, check_cron_goes_on, check_guesses, check_report, check_monit]))
