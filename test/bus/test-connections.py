#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Limits of the private socket, and the bus that is taken, gone, or not there. Argument: the build directory."""

import os
import struct
import subprocess
import sys

from pmdtest import PATIENCE, Pmd, Tap, connect, is_closed_by_peer, method_call, receives, wait_until

PING = method_call(1, "/org/pmd1", "org.pmd1.Manager", "Ping")
LIMIT = 128  # descriptors of pmd; half of them are for clients


def socket_answers(path):
    with connect(path) as s:
        s.sendall(PING)
        return receives(s, b"pong")


def check_limit(tap, build):
    with Pmd(build, nofile=LIMIT) as pmd:
        clients = []
        for _ in range(LIMIT // 2):
            s = connect(pmd.socket_path)
            s.sendall(PING)
            clients.append(s)
        tap.check(all(receives(s, b"pong") for s in clients), "as many clients as may be are served")
        with connect(pmd.socket_path, login=False) as s:
            tap.check(is_closed_by_peer(s), "one more is refused")
        wait_until(lambda: "refusing more" in pmd.messages(), "the message")
        tap.equal(pmd.messages().count("refusing more"), 1, "and pmd says so once")
        tap.check(pmd.answers(), "the bus is served all the same")
        for s in clients:
            s.close()
        wait_until(lambda: socket_answers(pmd.socket_path), "a free place")
        tap.check(True, "when they have left there is room again")


def check_name_taken(tap, build):
    with Pmd(build) as pmd:
        other = os.path.join(pmd.dir, "other")
        os.mkdir(other, 0o700)
        env = dict(pmd.env, XDG_RUNTIME_DIR=other, XDG_STATE_HOME=os.path.join(other, "state"))
        r = subprocess.run(
            [os.path.join(build, "src", "pmd"), "--user", "--runner=plain"], env=env, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )
        tap.check(r.returncode != 0 and "is taken" in r.stderr, "a second pmd on the same bus gives up", r.stderr)
        tap.check(pmd.answers(), "the first one stays")


def check_bus_lost(tap, build):
    with Pmd(build) as pmd:
        answer, error = pmd.start_sleeper("sleeper")
        tap.check(answer, "an app starts", error)
        pmd.daemon.kill()
        pmd.daemon.wait()
        wait_until(lambda: "connection to the bus is lost" in pmd.messages(), "the message")
        tap.check(not pmd.ended(), "pmd outlives the bus")
        tap.check(socket_answers(pmd.socket_path), "and serves its socket")


def check_without_bus(tap, build):
    with Pmd(build, bus=False, runtime="r" * 60 + "/" + "s" * 60) as pmd:
        tap.check(len(pmd.socket_path) > 108, "the path of the socket is longer than an address can be")
        fd = os.open(os.path.dirname(pmd.socket_path), os.O_PATH)
        tap.check(socket_answers(f"/proc/self/fd/{fd}/pmd.sock"), "pmd serves its socket without a bus, at a long path")
        os.close(fd)


def check_first_answer(tap, build):
    """Who asks first has the answer before it is told what happens."""
    with Pmd(build) as pmd:
        s = connect(pmd.socket_path)
        tap.check(s.recv(64).startswith(b"OK "), "a client is let in")
        pmd.start_sleeper("first")  # signals for those that listen
        s.sendall(method_call(1, "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello"))
        tap.equal(s.recv(2), b"l\2", "the first message is the answer to its first call")
        pmd.start_sleeper("second")
        tap.check(receives(s, b"ProcessNew"), "then it is told what happens")
        s.close()


def peer_call(serial, member, text):
    body = struct.pack("<I", len(text)) + text.encode() + b"\0"
    return method_call(serial, "/org/freedesktop/DBus", "org.freedesktop.DBus", member, "s", body)


def all_until(s, text):
    data = b""
    while text not in data:
        data += s.recv(65536) or text
    return data


def check_matches(tap, build):
    """Who says what it wants to hear gets that, and who has said nothing everything."""
    with Pmd(build) as pmd:
        s = connect(pmd.socket_path)
        s.sendall(peer_call(1, "AddMatch", "type='signal',sender='org.pmd1',interface='org.pmd1.Manager',member='JobRemoved'"))
        tap.check(receives(s, struct.pack("<I", 1)), "a match is added")
        pmd.start_sleeper("matched")
        heard = all_until(s, b"JobRemoved")
        tap.check(not any(w in heard for w in (b"JobNew", b"ProcessNew", b"PropertiesChanged", b"InterfacesAdded")), "there is nothing else", heard)

        s.sendall(peer_call(2, "AddMatch", "path='/org/pmd1/process/1'") + peer_call(3, "AddMatch", "type='method_call'"))
        pmd.start_sleeper("second")
        heard = all_until(s, b"JobRemoved")
        tap.check(b"PropertiesChanged" in heard and b"ProcessNew" not in heard, "a second match adds to it", heard)

        s.sendall(peer_call(4, "AddMatch", ""))
        pmd.start_sleeper("third")
        tap.check(b"JobNew" in all_until(s, b"JobRemoved"), "an empty rule is about everything")

        for i, rule in enumerate(("nonsense", "path='/org", "=x", ",")):
            s.sendall(peer_call(10 + i, "AddMatch", rule))
            tap.check(receives(s, b"MatchRuleInvalid"), f"refused: {rule}")
        s.sendall(peer_call(20, "RemoveMatch", "path='/nothing'"))
        tap.check(receives(s, b"MatchRuleNotFound"), "what is not there cannot be removed")
        s.sendall(b"".join(peer_call(30 + i, "RemoveMatch", r) for i, r in enumerate(("", "path='/org/pmd1/process/1'"))))
        pmd.start_sleeper("fourth")
        heard = all_until(s, b"JobRemoved")
        tap.check(b"JobNew" not in heard, "what is removed does not come any more", heard)
        s.sendall(b"".join(peer_call(100 + i, "AddMatch", "path='/x'") for i in range(600)))
        tap.check(receives(s, b"LimitsExceeded"), "there is an end to it")
        s.close()


def check_stale_socket(tap, build):
    with Pmd(build, stale_socket=True) as pmd:
        tap.check(socket_answers(pmd.socket_path), "a socket that is left over is no obstacle")


def main():
    tap = Tap()
    build = sys.argv[1]
    check_limit(tap, build)
    check_name_taken(tap, build)
    check_bus_lost(tap, build)
    check_without_bus(tap, build)
    check_stale_socket(tap, build)
    check_first_answer(tap, build)
    check_matches(tap, build)
    return tap.done()


sys.exit(main())
