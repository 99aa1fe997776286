#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Apps that speak sd_notify(3): readiness, status, watchdog, and who may not speak for them. Argument: the build directory."""

import os
import socket
import subprocess
import sys

from pmdtest import PATIENCE, Pmd, Tap, wait_until

APP = """
import os, socket, sys, time

def notify(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])

def wait_for(name):
    while not os.path.exists(os.path.join(sys.argv[1], name)):
        time.sleep(0.01)

"""


class Client:
    def __init__(self, build, pmd):
        self.pmctl, self.pmd = os.path.abspath(os.path.join(build, "src", "pmctl")), pmd

    def start(self, name, code, *args):
        """The pmctl that starts an app with this code, and goes on until the app is ready."""
        path = os.path.join(self.pmd.dir, name + ".app")
        with open(path, "w", encoding="utf-8") as f:
            f.write(APP + code)
        return subprocess.Popen(
            [self.pmctl, "--user", "start", path, "--interpreter", sys.executable, "--name", name, *args, "--", self.pmd.dir],
            env={**self.pmd.env, "PYTHONUNBUFFERED": "1"}, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    def let(self, name):
        with open(os.path.join(self.pmd.dir, name), "w", encoding="utf-8"):
            pass

    def row(self, name):
        answer, _ = self.pmd.manager("ListProcesses", "as", "1", name)
        return answer[0][0] if answer and answer[0] else None

    def field(self, name, index):
        row = self.row(name)
        return row[index] if row else None


STATUS, PID, RESTARTS, LAST_EXIT, STATUS_TEXT, NOTES = 4, 5, 9, 11, 29, 30


def check_ready(tap, client):
    p = client.start("ready", """
notify("STATUS=Warming up")
wait_for("go")
notify("READY=1\\nSTATUS=Serving")
time.sleep(1000)
""", "--notify", "--listen-timeout", "1h")
    wait_until(lambda: client.field("ready", STATUS_TEXT) == "Warming up", "the first status")
    tap.equal(client.field("ready", STATUS), "launching", "it is not online before it says so")
    tap.check(p.poll() is None, "and who started it waits")
    stray = socket_path(client, "ready")
    tap.equal(oct(os.stat(stray).st_mode & 0o7777), "0o600", "its socket is its own")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(b"READY=1\nSTATUS=Forged", stray)
    subprocess.run([sys.executable, "-c", "import socket,sys;socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM).sendto(b'READY=1', sys.argv[1])", stray], check=True)
    # Datagrams keep their order: this one is looked at after those.
    client.let("go")
    tap.equal(p.wait(PATIENCE), 0, "it is started when it is ready")
    tap.equal((client.field("ready", STATUS), client.field("ready", STATUS_TEXT)), ("online", "Serving"), "then it is online")

    client.pmd.manager("Stop", "asa{sv}", "1", "ready", "0")
    wait_until(lambda: client.field("ready", STATUS) == "stopped", "the stop")
    tap.check(not os.path.exists(stray), "the socket goes with it")
    tap.check("2 messages to its notification socket were dropped" in client.pmd.messages(), "messages of others were dropped and counted",
              client.pmd.messages())


def socket_path(client, name):
    return environment(client, name)["NOTIFY_SOCKET"]


def environment(client, name):
    with open(f"/proc/{client.field(name, PID)}/environ", encoding="utf-8") as f:
        return dict(e.split("=", 1) for e in f.read().split("\0") if e)


def check_forged(tap, client):
    p = client.start("forged", """
wait_for("forged-go")
notify("STATUS=me")
time.sleep(1000)
""", "--notify", "--listen-timeout", "1h")
    wait_until(lambda: client.field("forged", STATUS) == "launching" and client.field("forged", PID) > 0, "the app")
    wait_until(lambda: "NOTIFY_SOCKET" in environment(client, "forged"), "its environment")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(b"READY=1", socket_path(client, "forged"))
    client.let("forged-go")
    wait_until(lambda: client.field("forged", STATUS_TEXT) == "me", "its own message")
    tap.equal(client.field("forged", STATUS), "launching", "nobody else can make it ready")
    client.pmd.manager("Delete", "asa{sv}", "1", "forged", "0")
    p.wait(PATIENCE)


def check_descendants(tap, client):
    p = client.start("parent", """
import subprocess
subprocess.run([sys.executable, "-c", "import socket,os,time;socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM).sendto(b'READY=1\\\\nSTATUS=child', os.environ['NOTIFY_SOCKET']);time.sleep(1000)"])
""", "--notify", "--listen-timeout", "1h")
    tap.equal((p.wait(PATIENCE), client.field("parent", STATUS_TEXT)), (0, "child"), "a child of the app may speak for it")


def check_timeout(tap, client):
    p = client.start("silent", "time.sleep(1000)\n", "--notify", "--listen-timeout", "50")
    tap.equal((p.wait(PATIENCE), client.field("silent", STATUS)), (0, "online"), "one that says nothing is taken for online after listen_timeout")
    tap.check("that it is ready" in str(client.field("silent", NOTES)), "which is told", client.field("silent", NOTES))
    p = client.start("late", "wait_for('now')\nnotify('READY=1')\ntime.sleep(1000)\n", "--notify", "--listen-timeout", "50")
    p.wait(PATIENCE)
    tap.check("that it is ready" in str(client.field("late", NOTES)), "one that says it late", client.field("late", NOTES))
    client.let("now")
    wait_until(lambda: client.field("late", NOTES) == [], "that it has said it")


def check_watchdog(tap, client):
    p = client.start("dog", """
assert os.environ["WATCHDOG_PID"] == str(os.getpid())
assert os.environ["WATCHDOG_USEC"] == "2000000"
notify("READY=1")
while not os.path.exists(os.path.join(sys.argv[1], "hang")):
    notify("WATCHDOG=1")
    time.sleep(0.01)
time.sleep(1000)
""", "--notify", "--watchdog-timeout", "2s")
    tap.equal(p.wait(PATIENCE), 0, "an app with a watchdog starts")
    tap.equal(client.field("dog", RESTARTS), 0, "and is left alone while it gives signs of life")
    client.let("hang")
    wait_until(lambda: client.field("dog", RESTARTS) > 0, "the restart")
    tap.equal(client.field("dog", LAST_EXIT), [-1, 6, "watchdog"], "without them it is ended and restarted")
    client.pmd.manager("Delete", "asa{sv}", "1", "dog", "0")

    p = client.start("trigger", """
if os.path.exists(os.path.join(sys.argv[1], "triggered")):
    time.sleep(1000)
open(os.path.join(sys.argv[1], "triggered"), "w").close()
notify("WATCHDOG=trigger")
time.sleep(1000)
""", "--watchdog-timeout", "1h")
    p.wait(PATIENCE)
    wait_until(lambda: client.field("trigger", RESTARTS) == 1 and client.field("trigger", STATUS) == "online", "the restart")
    tap.equal(client.field("trigger", LAST_EXIT)[2], "watchdog", "one that says itself that it has failed is restarted")


def check_without(tap, client):
    p = client.start("plain", "time.sleep(1000)\n")
    p.wait(PATIENCE)
    env = environment(client, "plain")
    tap.equal([k for k in env if k in ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")], [], "who did not ask for a socket gets none")


def main():
    tap = Tap()
    with Pmd(sys.argv[1]) as pmd:
        client = Client(sys.argv[1], pmd)
        check_ready(tap, client)
        check_forged(tap, client)
        check_descendants(tap, client)
        check_timeout(tap, client)
        check_watchdog(tap, client)
        check_without(tap, client)
    return tap.done()


sys.exit(main())
