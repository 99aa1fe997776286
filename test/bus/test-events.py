#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The event bus: what subscribers are told, in which order, and what becomes of those who do not listen. Argument: the build directory."""

import json
import os
import socket
import struct
import sys

from pmdtest import PATIENCE, Pmd, Tap, _align, _string, connect, wait_until

METHOD_CALL, METHOD_RETURN, ERROR, SIGNAL = 1, 2, 3, 4


def message(kind, serial, fields, body=b""):
    """fields: code → (signature, value)"""
    data = b""
    for code, (signature, value) in sorted(fields.items()):
        data = _align(data, 8) + bytes([code, len(signature)]) + signature.encode() + b"\0"
        if signature == "g":
            data += bytes([len(value)]) + value.encode() + b"\0"
        elif signature == "u":
            data = _align(data, 4) + struct.pack("<I", value)
        else:
            data = _align(data, 4) + _string(value)
    return _align(struct.pack("<4sIII", b"l" + bytes([kind, 0, 1]), len(body), serial, len(data)) + data, 8) + body


def read_fields(data):
    fields, i = {}, 0
    while i < len(data):
        i += -i % 8
        code, signature = data[i], chr(data[i + 2])
        i += 4
        if signature == "g":
            fields[code] = data[i + 1:i + 1 + data[i]].decode()
            i += data[i] + 2
            continue
        i += -i % 4
        (n,) = struct.unpack_from("<I", data, i)
        i += 4
        if signature == "u":
            fields[code] = n
            continue
        fields[code] = data[i:i + n].decode()
        i += n + 1
    return fields


def strv(strings):
    data = b""
    for s in strings:
        data = _align(data, 4) + _string(s)
    return struct.pack("<I", len(data)) + data


def two_strings(body):
    (n,) = struct.unpack_from("<I", body, 0)
    i = 4 + n + 1
    i += -i % 4
    (k,) = struct.unpack_from("<I", body, i)
    return body[4:4 + n].decode(), body[i + 4:i + 4 + k].decode()


class Client:
    """A client that reads when it is told to, on the private socket or on the broker's."""

    def __init__(self, pmd, broker=False, answer_pings=True):
        self.socket = connect(pmd.bus_path if broker else pmd.socket_path)
        self.answer_pings, self.broker = answer_pings, broker
        self.serial, self.buffer, self.events, self.replies = 0, b"", [], {}
        self.handshake = b""
        if broker:
            self.wait_for(self.call("Hello", path="/org/freedesktop/DBus", interface="org.freedesktop.DBus", destination="org.freedesktop.DBus"))

    def call(self, member, signature="", body=b"", path="/org/pmd1", interface="org.pmd1.Manager", destination=None):
        self.serial += 1
        fields = {1: ("o", path), 2: ("s", interface), 3: ("s", member)}
        if self.broker:
            fields[6] = ("s", destination or "org.pmd1")
        if signature:
            fields[8] = ("g", signature)
        self.socket.sendall(message(METHOD_CALL, self.serial, fields, body))
        return self.serial

    def subscribe(self, *filters):
        return self.wait_for(self.call("SubscribeEvents", "as", strv(filters)))

    def next_message(self):
        """False if it cannot be read now."""
        while True:
            m = self.take_message()
            if m:
                return m
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError
            self.buffer += data

    def take_message(self):
        if self.handshake is not None:
            # "OK …", perhaps "AGREE_UNIX_FD", each a line.
            if b"\r\n" not in self.buffer:
                return None
            self.handshake, _, self.buffer = self.buffer.partition(b"\r\n")
            self.handshake = None
        if len(self.buffer) < 16:
            return None
        n_body, _, n_fields = struct.unpack_from("<III", self.buffer, 4)
        start = 16 + n_fields
        start += -start % 8
        if len(self.buffer) < start + n_body:
            return None
        kind, serial = self.buffer[1], struct.unpack_from("<I", self.buffer, 8)[0]
        fields, body = read_fields(self.buffer[16:16 + n_fields]), self.buffer[start:start + n_body]
        self.buffer = self.buffer[start + n_body:]
        return kind, serial, fields, body

    def handle(self, m):
        kind, serial, fields, body = m
        if kind in (METHOD_RETURN, ERROR):
            self.replies[fields[5]] = fields.get(4)
        elif kind == SIGNAL and fields[3] == "Event":
            name, packet = two_strings(body)
            self.events.append((name, json.loads(packet)))
        elif kind == METHOD_CALL and fields[3] == "Ping" and self.answer_pings:
            self.serial += 1
            reply = {5: ("u", serial)}
            if self.broker:
                reply[6] = ("s", fields[7])
            self.socket.sendall(message(METHOD_RETURN, self.serial, reply))

    def wait_for(self, serial):
        while serial not in self.replies:
            self.handle(self.next_message())
        return self.replies[serial]

    def wait_event(self, name, **members):
        i = 0
        while True:
            while i < len(self.events):
                n, p = self.events[i]
                if n == name and all(p.get(k) == v for k, v in members.items()):
                    return p
                i += 1
            self.handle(self.next_message())

    def wait_lines(self, n):
        """Until so many lines have come or were skipped; returns both numbers."""
        i = lines = skipped = 0
        while True:
            for name, p in self.events[i:]:
                lines += name == "log:out" and p["data"].startswith("line")
                skipped += p.get("skipped", 0)
                i += 1
            if lines + skipped >= n:
                return lines, skipped
            self.handle(self.next_message())

    def words(self, app=None):
        """The process:events, shortly."""
        return [p["event"] for n, p in self.events if n == "process:event" and app in (None, p["process"]["name"])]

    def sync(self):
        """Everything that was sent before has come."""
        self.wait_for(self.call("Ping"))

    def close(self):
        self.socket.close()


def start_app(pmd, name, script, *more):
    """more: name, type and value of further attributes, each a string"""
    attributes = ["name", "s", name, "script", "s", "/bin/sh", "interpreter", "s", "none", "cwd", "s", pmd.dir, "args", "as", "2", "-c", script, *more]
    n = 5 + len(more) // 3
    answer, error = pmd.manager("StartApp", "a{sv}a{sv}", str(n), *attributes, "0")
    assert answer, error


SLEEP = "trap 'exit 0' INT; echo up; while :; do sleep 0.1; done"


def act(pmd, verb, name):
    answer, error = pmd.manager(verb, "asa{sv}", "1", name, "0")
    assert answer, error


def check_order(tap, pmd):
    c = Client(pmd)
    tap.equal(c.subscribe("process:event"), None, "subscribing to the events of processes")
    start_app(pmd, "order", SLEEP)
    c.wait_event("process:event", event="start")
    tap.equal(c.words(), ["online", "start"], "a new app: online, then start")
    p = c.events[0][1]
    tap.check(p["manually"] is False and isinstance(p["at"], int), "online comes by itself", p)
    tap.check(c.events[1][1]["manually"] is True, "start was asked for", c.events[1])
    wanted = ("name", "namespace", "pm_id", "status", "pm_uptime", "created_at", "restart_time", "unstable_restarts", "exec_mode", "pm_exec_path", "pm_cwd",
              "exec_interpreter", "node_args", "pm_out_log_path", "pm_err_log_path", "pm_pid_path", "instances", "autorestart", "watch", "unique_id",
              "axm_actions", "axm_monitor", "axm_options", "NODE_APP_INSTANCE")
    tap.equal([k for k in wanted if k not in p["process"]], [], "the packet has the members of pm2's")
    tap.check("env" not in p["process"] and "HOME" not in p["process"], "but not the environment", p)

    for verb, words in (("Restart", ["exit", "online", "restart"]), ("Stop", ["exit", "stop"]), ("Start", ["online", "start"]),
                        ("Delete", ["exit", "delete"])):
        c.events.clear()
        act(pmd, verb, "order")
        c.wait_event("process:event", event=words[-1])
        c.sync()
        tap.equal(c.words(), words, f"{verb}: {', '.join(words)}")
    tap.equal([p["process"]["status"] for _, p in c.events], ["stopping", "stopped"], "the statuses at its end")
    c.close()


def check_crash(tap, pmd):
    c = Client(pmd)
    c.subscribe("process:*")
    start_app(pmd, "crash", "sleep 0.2; exit 3", "max_restarts", "u", "2", "min_uptime", "u", "5000")
    p = c.wait_event("process:event", event="restart overlimit")
    c.sync()
    words = c.words("crash")
    tap.equal([w for w in words if w != "start"], ["online", "exit", "online", "exit", "restart overlimit"], "a crash loop, up to its limit")
    tap.check(words.index("start") < words.index("exit"), "start before the first exit", words)
    tap.check(p["process"]["status"] == "errored" and p["process"]["exit_code"] == 3 and not p["manually"], "the packet of the limit", p)
    act(pmd, "Delete", "crash")
    c.close()


def check_filters(tap, pmd):
    c = Client(pmd)
    c.subscribe("log:out", "nothing")
    start_app(pmd, "logs", "echo one; echo two >&2; printf 'b\\377d'; " + SLEEP)
    p = c.wait_event("log:out", data="one\n")
    tap.equal(p["process"]["name"], "logs", "a line of an app")
    tap.check(isinstance(p["process"]["pm_id"], int) and p["process"]["namespace"] == "default" and isinstance(p["at"], int), "and whose it is", p)
    c.wait_event("log:out", data="b\ufffddup\n")
    tap.check(True, "bytes that are no UTF-8 are replaced")
    tap.equal({n for n, _ in c.events}, {"log:out"}, "only what was asked for")

    c.subscribe("process:event")
    c.events.clear()
    act(pmd, "Restart", "logs")
    c.wait_event("process:event", event="restart")
    c.sync()
    tap.equal({n for n, _ in c.events}, {"process:event"}, "another subscription replaces the filters")

    tap.equal(c.wait_for(c.call("UnsubscribeEvents")), None, "unsubscribing")
    c.events.clear()
    act(pmd, "Delete", "logs")
    wait_until(lambda: pmd.manager("ListProcesses", "as", "0")[0] == [[]], "the end of the app")
    c.sync()
    tap.equal(c.events, [], "nothing comes any more")
    tap.check("InvalidArgs" in c.subscribe("x" * 300), "a filter that is too long is refused")
    tap.check("InvalidArgs" in c.subscribe(*["x"] * 65), "so are too many")
    c.close()


def check_everything(tap, pmd):
    c = Client(pmd)
    c.subscribe()
    start_app(pmd, "every", "echo out; echo err >&2; " + SLEEP)
    c.wait_event("log:err", data="err\n")
    p = c.wait_event("log:PM2")
    tap.check(p["process"] == {"pm_id": "PM2", "name": "PM2", "rev": None} and p["data"].endswith("\n"), "a message of pmd itself", p)
    c.wait_event("log:out", data="out\n")
    tap.check("process:event" in {n for n, _ in c.events}, "without filters everything comes", c.events)
    act(pmd, "Delete", "every")
    c.wait_event("process:event", event="delete")
    c.close()


def check_broker(tap, pmd):
    c, other = Client(pmd, broker=True), Client(pmd, broker=True)
    tap.equal(c.subscribe("process:event"), None, "subscribing over the broker")
    start_app(pmd, "broker", SLEEP)
    c.wait_event("process:event", event="start")
    tap.equal(c.words(), ["online", "start"], "the same events")
    other.sync()
    tap.equal(other.events, [], "nobody else on the broker gets them")
    c.close()
    wait_until(lambda: "ok" if act(pmd, "Restart", "broker") is None else None, "a restart without a listener")
    act(pmd, "Delete", "broker")
    tap.check(pmd.answers(), "pmd goes on when the listener is gone")
    other.close()


FLOOD = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; trap 'exit 0' INT; while :; do sleep 0.1; done"


def check_slow(tap, pmd, broker):
    where = "the broker" if broker else "the socket"
    slow, quick = Client(pmd, broker, answer_pings=False), Client(pmd, broker)
    slow.subscribe("log:out")
    quick.subscribe("log:out")
    start_app(pmd, "flood", FLOOD)
    lines, skipped = quick.wait_lines(20000)
    tap.equal(lines + skipped, 20000, f"over {where}: who reads gets each line, or is told")

    slow.sync()
    tap.check(0 < len(slow.events) <= 1100, "who does not answer is sent no more than it may leave unread", len(slow.events))
    tap.check("pmd:skipped" not in {n for n, _ in slow.events}, "and is not told before there is room")
    slow.close()
    quick.close()
    act(pmd, "Delete", "flood")
    wait_until(lambda: pmd.manager("ListProcesses", "as", "0")[0] == [[]], "the end of the flood")


def check_told_later(tap, pmd):
    """A listener that stops reading and comes back."""
    c, watch = Client(pmd), Client(pmd)
    c.subscribe("log:out")
    watch.subscribe("log:out")
    start_app(pmd, "flood", FLOOD)
    watch.wait_lines(20000)
    watch.close()
    lines, skipped = c.wait_lines(20000)
    tap.check(skipped > 0 and lines + skipped == 20000, "who comes back is told how many it misses", (lines, skipped))
    c.close()
    act(pmd, "Delete", "flood")
    wait_until(lambda: pmd.manager("ListProcesses", "as", "0")[0] == [[]], "the end of the flood")


def check_many(tap, pmd):
    clients = [Client(pmd) for _ in range(100)]
    for c in clients:
        c.subscribe("process:event")
    start_app(pmd, "many", SLEEP)
    for c in clients:
        c.wait_event("process:event", event="start")
    tap.check(all(c.words() == ["online", "start"] for c in clients), "a hundred subscribers are all told")
    for c in clients:
        c.close()
    act(pmd, "Delete", "many")
    wait_until(lambda: pmd.manager("ListProcesses", "as", "0")[0] == [[]], "the end of the app")
    tap.check(pmd.answers(), "and their end harms nobody")


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def read_switches(pid):
    """How often the main thread went to sleep: a loop that is not woken does not."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return int(next(line for line in f if line.startswith("voluntary_ctxt_switches")).split()[1])


def check_idle(tap, pmd):
    """The main loop is woken for each bunch of lines that somebody listens to, and for none without."""
    done = os.path.join(pmd.dir, "done")
    script = f"i=0; while [ $i -lt 300 ]; do echo line $i; sleep 0.002; i=$((i+1)); done; touch {done}; " + SLEEP
    counts = []
    for listen in (False, True):
        c = Client(pmd)
        if listen:
            c.subscribe("log:out")
        start_app(pmd, "chatty", script)
        c.sync()
        before = read_switches(pmd.pmd.pid)
        wait_until(lambda: os.path.exists(done), "300 lines")
        if listen:
            c.wait_event("log:out", data="line 299\n")
        counts.append(read_switches(pmd.pmd.pid) - before)
        os.unlink(done)
        c.close()
        act(pmd, "Delete", "chatty")
        wait_until(lambda: pmd.manager("ListProcesses", "as", "0")[0] == [[]], "the end of the app")
    tap.check(counts[0] < 30 and counts[1] > counts[0], "lines that nobody listens to do not wake the main loop", counts)


def check_exit(tap, pmd):
    c = Client(pmd)
    c.subscribe()
    start_app(pmd, "last", SLEEP)
    c.wait_event("process:event", event="start")
    c.call("Exit")
    p = c.wait_event("pm2:kill")
    tap.equal(p["status"], "killed", "the end of pmd")
    words = c.words()
    tap.equal(words, ["online", "start", "exit"], "after that of the apps")
    c.close()


def main():
    tap = Tap()
    with Pmd(sys.argv[1]) as pmd:
        check_order(tap, pmd)
        check_crash(tap, pmd)
        check_filters(tap, pmd)
        check_everything(tap, pmd)
        check_broker(tap, pmd)
        check_slow(tap, pmd, False)
        check_slow(tap, pmd, True)
        check_told_later(tap, pmd)
        check_many(tap, pmd)
        check_idle(tap, pmd)
        check_exit(tap, pmd)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
