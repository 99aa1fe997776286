# SPDX-License-Identifier: MIT
"""What the tests of the bus share: a bus and a pmd of their own, TAP, and D-Bus by hand for what no proper client does."""

import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET

SOURCE_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INTERFACE_FILE = os.path.join(SOURCE_DIR, "dbus", "org.pmd1.xml")
PATIENCE = 20

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class Tap:
    def __init__(self):
        self.n = self.failed = 0

    def check(self, ok, name, detail=""):
        self.n += 1
        print(f"{'ok' if ok else 'not ok'} {self.n} - {name}", flush=True)
        if not ok:
            self.failed += 1
            for line in str(detail).splitlines():
                print("# " + line)

    def equal(self, got, expected, name):
        self.check(got == expected, name, f"got      {got!r}\nexpected {expected!r}")

    def done(self):
        print(f"1..{self.n}")
        return 1 if self.failed else 0


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


def kill_for_good(pid):
    """SIGKILL to pmd, and before it to its keeper, which would start another."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        parent = int(next(line for line in f if line.startswith("PPid:")).split()[1])
    with open(f"/proc/{parent}/comm", encoding="utf-8") as f:
        if f.read() == "pmd-keeper\n":
            os.kill(parent, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)


class Pmd:
    """dbus-daemon and a user pmd on it, all in one temporary directory. nofile: limit of descriptors of pmd. bus: False for none.
    runtime: name of the runtime directory. stale_socket: one is there that nobody serves."""

    def __init__(self, build, nofile=None, bus=True, runtime="run", stale_socket=False):
        self.dir = tempfile.mkdtemp(prefix="pmd-bus-")
        self.bus_path = os.path.join(self.dir, "bus")
        self.daemon = self.pmd = None
        self.build, self.nofile, self.with_bus, self.stale_socket = build, nofile, bus, stale_socket
        self.env = dict(
            os.environ,
            HOME=self.dir,
            XDG_RUNTIME_DIR=os.path.join(self.dir, runtime),
            XDG_STATE_HOME=os.path.join(self.dir, "state"),
            DBUS_SESSION_BUS_ADDRESS="unix:path=" + self.bus_path,
        )
        for name in ("PMD_HOME", "PM2_HOME", "NOTIFY_SOCKET"):
            self.env.pop(name, None)
        os.makedirs(self.env["XDG_RUNTIME_DIR"], 0o700)
        self.socket_path = os.path.join(self.env["XDG_RUNTIME_DIR"], "pmd", "pmd.sock")

    def __enter__(self):
        if self.with_bus:
            self.start_bus()
        if self.stale_socket:
            os.mkdir(os.path.dirname(self.socket_path), 0o700)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                s.bind(self.socket_path)
        self.log = open(os.path.join(self.dir, "pmd.log"), "w+", encoding="utf-8")
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (self.nofile, self.nofile))) if self.nofile else None
        self.pmd = subprocess.Popen(
            [os.path.join(self.build, "src", "pmd"), "--user", "--runner=plain"],
            env=self.env, stderr=self.log, cwd="/", preexec_fn=limit,
        )
        wait_until(lambda: self.ended() or self.is_ready(), "pmd")
        if self.ended():
            raise RuntimeError(self.messages())
        return self

    def start_bus(self):
        config = os.path.join(self.dir, "bus.conf")
        with open(config, "w", encoding="utf-8") as f:
            f.write(BUS_CONFIG.format(path=self.bus_path))
        # Of its messages there is only one that it may not raise a limit.
        self.daemon = subprocess.Popen(["dbus-daemon", "--config-file=" + config, "--nofork"], stderr=subprocess.DEVNULL)
        wait_until(lambda: os.path.exists(self.bus_path), "the bus")

    def is_ready(self):
        return self.has_name() if self.with_bus else "serves" in self.messages()

    def __exit__(self, *exc):
        if not self.ended():
            self.pmd.send_signal(signal.SIGTERM)
            try:
                self.pmd.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.pmd.kill()
                self.pmd.wait()
        if self.daemon:
            self.daemon.kill()
            self.daemon.wait()
        messages = self.messages()
        if exc[0]:
            print(messages, file=sys.stderr)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)
        if not exc[0] and "Sanitizer" in messages:
            raise RuntimeError(messages)

    def messages(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8", errors="replace") as f:
            return f.read()

    def ended(self):
        return self.pmd.poll() is not None

    def busctl(self, *args):
        return subprocess.run(
            ["busctl", "--address=unix:path=" + self.bus_path, "--json=short", *args],
            env=self.env, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )

    def has_name(self):
        r = self.busctl("call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameHasOwner", "s", "org.pmd1")
        return r.returncode == 0 and json.loads(r.stdout)["data"] == [True]

    def call(self, path, interface, member, *args):
        """(answer, "") or (None, error)"""
        r = self.busctl("call", "--", "org.pmd1", path, interface, member, *args)
        if r.returncode != 0:
            return None, r.stderr.strip() or "failed without a message"
        return (json.loads(r.stdout)["data"] if r.stdout.strip() else []), ""

    def manager(self, member, *args):
        return self.call("/org/pmd1", "org.pmd1.Manager", member, *args)

    def start_sleeper(self, name, instances=1):
        return self.manager(
            "StartApp", "a{sv}a{sv}",
            "6", "name", "s", name, "script", "s", "/bin/sleep", "interpreter", "s", "none", "cwd", "s", "/",
            "args", "as", "1", "1000", "instances", "u", str(instances), "0",
        )

    def answers(self):
        return not self.ended() and self.manager("Ping") == (["pong"], "")


def interfaces_of(xml):
    """name → {(kind, member): signature, with directions and annotations}"""
    result = {}
    for interface in ET.fromstring(xml).iter("interface"):
        members = {}
        for e in interface:
            if e.tag == "property":
                notes = {a.get("name"): a.get("value") for a in e.findall("annotation")}
                emits = notes.get("org.freedesktop.DBus.Property.EmitsChangedSignal", "true")
                members["property", e.get("name")] = (e.get("type"), e.get("access"), emits)
            elif e.tag in ("method", "signal"):
                default = "in" if e.tag == "method" else "out"
                members[e.tag, e.get("name")] = [
                    (a.get("name"), a.get("type"), a.get("direction", default)) for a in e.findall("arg")
                ]
        result[interface.get("name")] = members
    return result


def own_interfaces():
    with open(INTERFACE_FILE, encoding="utf-8") as f:
        return interfaces_of(f.read())


# ---- D-Bus by hand ----


def _align(data, n):
    return data + b"\0" * (-len(data) % n)


def _string(s):
    b = s.encode()
    return struct.pack("<I", len(b)) + b + b"\0"


def method_call(serial, path, interface, member, signature="", body=b""):
    fields = b""
    for code, kind, value in ((1, "o", path), (2, "s", interface), (3, "s", member), (8, "g", signature)):
        if not value:
            continue
        fields = _align(fields, 8) + bytes([code, 1]) + kind.encode() + b"\0"
        if kind == "g":
            fields += bytes([len(value)]) + value.encode() + b"\0"
        else:
            fields = _align(fields, 4) + _string(value)
    return _align(struct.pack("<4sIII", b"l\1\0\1", len(body), serial, len(fields)) + fields, 8) + body


def connect(path, login=True):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.settimeout(PATIENCE)
    s.connect(path)
    if login:
        s.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\nBEGIN\r\n")
    return s


def is_closed_by_peer(s):
    """Reads until the end, which has to come."""
    try:
        while s.recv(65536):
            pass
    except ConnectionResetError:
        pass
    except socket.timeout:
        return False
    return True


def receives(s, text, times=1):
    """Reads until the text has come so many times."""
    data = b""
    try:
        while data.count(text) < times:
            got = s.recv(65536)
            if not got:
                return False
            data += got
    except (ConnectionResetError, socket.timeout):
        return False
    return True
