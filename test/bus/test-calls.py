#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Calls that are wrong, and clients that misbehave, get an error or are closed, and pmd lives. Argument: the build directory."""

import os
import socket
import stat
import sys

from pmdtest import PATIENCE, Pmd, Tap, connect, is_closed_by_peer, method_call, own_interfaces, receives, wait_until

WRONG_BODIES = [[], ["s", "x"], ["u", "1"], ["as", "0"], ["a{sv}", "0"], ["(iis)", "1", "2", "x"], ["asu", "0", "1"]]


def signature_in(args):
    return "".join(t for _, t, direction in args if direction == "in")


def check_wrong_signatures(tap, pmd, objects):
    for interface, members in own_interfaces().items():
        for (kind, member), args in members.items():
            if kind != "method":
                continue
            for body in WRONG_BODIES:
                sent = body[0] if body else ""
                if sent == signature_in(args):
                    continue
                answer, error = pmd.call(objects[interface], interface, member, *body)
                if answer is not None or "Invalid arguments" not in error:
                    tap.check(False, f"{interface}.{member}({sent}) is refused", answer or error)
                    break
            else:
                tap.check(not pmd.ended(), f"{interface}.{member}: wrong signatures are refused")


def check_properties(tap, pmd, objects):
    for interface, members in own_interfaces().items():
        path = objects[interface]
        names = {name for kind, name in members if kind == "property"}
        answer, error = pmd.call(path, "org.freedesktop.DBus.Properties", "GetAll", "s", interface)
        tap.equal(set(answer[0]) if answer else error, names, f"GetAll of {interface}")
        for name in sorted(names):
            answer, error = pmd.call(path, "org.freedesktop.DBus.Properties", "Get", "ss", interface, name)
            tap.check(answer and answer[0]["type"] == members["property", name][0], f"{interface}.{name} can be read", answer or error)
        answer, error = pmd.call(path, "org.freedesktop.DBus.Properties", "Get", "ss", interface, "NoSuchThing")
        tap.check(answer is None, f"{interface} has no property it does not have")


def check_values(tap, pmd, name, process):
    answer, error = pmd.manager("ListProcesses", "as", "0")
    tap.check(answer and len(answer[0]) == 1, "ListProcesses gives one row", answer or error)
    row = answer[0][0]
    answer, error = pmd.call(process, "org.freedesktop.DBus.Properties", "GetAll", "s", "org.pmd1.Process")
    properties = {k: v["data"] for k, v in answer[0].items()}
    order = [
        "Id", "Name", "Namespace", "Instance", "Status", "PID", "ExecMode", "StartTimestamp", "CreatedTimestamp", "NRestarts",
        "UnstableRestarts", "LastExit", None, None, None, None, "User", "Watching", "Version", "Unit", "Executable", "Interpreter",
        "InterpreterArguments", "Arguments", "WorkingDirectory", "OutLogPath", "ErrorLogPath", "PIDFile", "UniqueId",
        "StatusText", "Notes",
    ]
    for i, field in enumerate(order):
        if field:
            tap.equal(row[i], properties[field], f"ListProcesses and {field} agree")
    tap.equal(row[1], name, "the name comes back")
    tap.equal(row[31]["script"]["data"], "/bin/sleep", "the row ends with the definition")
    tap.check("env" not in row[29], "without the environment")

    single, error = pmd.call(process, "org.pmd1.Process", "GetEnvironment")
    several, _ = pmd.manager("GetEnvironments", "au", "1", "0")
    tap.check(single and any(e.startswith("name=") for e in single[0]), "the owner may read the environment", single or error)
    tap.equal(several and several[0][0][0], [0], "GetEnvironments says whose they are")
    tap.check(several and single and set(several[0][0][1]) < set(single[0]), "and gives the part that the definition makes", several)


class Unpacker:
    """Reads the answer of ListPacked(), see src/shared/list-pack.h."""

    def __init__(self, text, words):
        self.text, self.words = bytes(text), iter(words)
        self.version, self.n_rows, *_ = [next(self.words) for _ in range(5)]

    def word(self):
        return next(self.words)

    def number(self):
        low = self.word()
        return low | self.word() << 32

    def signed(self):
        return int.from_bytes(self.word().to_bytes(4, "little"), "little", signed=True)

    def string(self):
        place = self.word()
        return self.text[place:self.text.index(0, place)].decode()

    def strings(self):
        return [self.string() for _ in range(self.word())]

    def value(self):
        types = [self.string, self.strings, lambda: bool(self.word()), self.number, lambda: [self.number() for _ in range(self.word())]]
        return types[self.word()]()

    def row(self, before, with_environment):
        """In the order of ListProcesses()."""
        w, n, s = self.word, self.number, self.string
        row = [w(), s(), s(), w(), s(), w(), s(), n(), n(), w(), w(), [self.signed(), self.signed(), s()], n(), n(), n(), n(), s(), bool(w()),
               s(), s(), s(), s()]
        paths = [s(), s(), s(), s(), s(), s()]
        row += [self.strings(), self.strings(), *paths, self.strings()]
        n_attributes = w()
        row.append({s(): self.value() for _ in range(n_attributes - 1)} if n_attributes else before[0][31])
        environment = None if not with_environment else self.strings() if w() else before[1]
        return row, environment


def unpack(answer, with_environment):
    u, rows = Unpacker(*answer), []
    for _ in range(u.n_rows):
        rows.append(u.row(rows[-1] if rows else None, with_environment))
    return u.version, rows, list(u.words)


def check_packed(tap, pmd):
    """The second instance has what the first has, the next app shares the environment only, and the last has one of its own."""
    for definition in (
        ["5", "name", "s", "pair", "script", "s", "/bin/sleep", "cwd", "s", "/", "args", "as", "1", "1000", "instances", "u", "2"],
        ["6", "name", "s", "third", "script", "s", "/bin/sleep", "cwd", "s", "/", "args", "as", "1", "1000", "stop_exit_codes", "ai", "2", "3", "4",
         "autorestart", "b", "false"],
        ["5", "name", "s", "fourth", "script", "s", "/bin/sleep", "cwd", "s", "/", "args", "as", "1", "1000", "env", "as", "1", "OWN=1"],
        ["5", "name", "s", "port", "script", "s", "/bin/sleep", "cwd", "s", "/", "args", "as", "1", "1000", "port", "u", "81"],
        ["6", "name", "s", "count", "script", "s", "/bin/sleep", "cwd", "s", "/", "args", "as", "1", "1000", "instances", "u", "2", "increment_var", "s", "N"],
    ):
        answer, error = pmd.manager("StartApp", "a{sv}a{sv}", *definition, "0")
        tap.check(answer, f"{definition[3]} starts", error)
    wait_until(lambda: all(row[4] == "online" for row in pmd.manager("ListProcesses", "as", "0")[0][0]), "all of them")

    expected, _ = pmd.manager("ListProcesses", "as", "0")
    for row in expected[0]:
        row[31] = {key: value["data"] for key, value in row[31].items()}
    environments, _ = pmd.manager("GetEnvironments", "au", str(len(expected[0])), *[str(row[0]) for row in expected[0]])
    tap.check(len(environments[0]) < len(expected[0]), "GetEnvironments gives what is shared once", environments)
    expected_environments = [env for ids, env in environments[0] for _ in ids]

    for with_environment in (False, True):
        answer, error = pmd.manager("ListPacked", "asb", "0", "true" if with_environment else "false")
        version, rows, rest = unpack(answer, with_environment)
        tap.equal((version, rest), (1, []), "ListPacked can be read")
        for row, old in zip(rows, expected[0]):
            tap.equal(row[0][:12] + row[0][16:], old[:12] + old[16:], f"ListPacked and ListProcesses agree about {old[1]}")
        tap.equal([environment for _, environment in rows], expected_environments if with_environment else [None] * len(expected[0]),
                  "ListPacked and GetEnvironments agree" if with_environment else "without environments, if nobody asks")
    answer, _ = pmd.manager("ListPacked", "asb", "2", "third", "pair", "false")
    tap.equal(sorted(row[1] for row, _ in unpack(answer, False)[1]), ["pair", "pair", "third"], "ListPacked takes targets")
    for name in ("pair", "third", "fourth", "port", "count"):
        pmd.manager("Delete", "asa{sv}", "1", name, "0")
    wait_until(lambda: len(pmd.manager("ListProcesses", "as", "0")[0][0]) == 1, "the end of these apps")


def check_targets(tap, pmd):
    bad = [
        ("nothing of that name", "answers to"), ("99", "answers to"), ("-1", "answers to"), ("99999999999999999999", "answers to"),
        ("/(/", "regular expression"), ("", "answers to"), ("x" * 4097, "longer than"), ("/" + "a" * 300 + "/", "answers to"),
        ("/((((a{1,100}){1,100}){1,100}){1,100})/", "repeats too much"), ("/" + "(" * 40 + "a" + ")+" * 40 + "/", "repeats too much"),
        (r"/(a*)\1/", "refers back"),
    ]
    for method, before, after in (
        ("Start", [], ["0"]), ("Stop", [], ["0"]), ("Restart", [], ["0"]), ("Delete", [], ["0"]), ("Reset", [], []),
        ("SendSignal", [], ["main", "15"]), ("ResolveTargets", [], []), ("ListProcesses", [], []), ("ListPacked", [], ["false"]),
    ):
        signature = {"SendSignal": "assi", "Reset": "as", "ResolveTargets": "as", "ListProcesses": "as", "ListPacked": "asb"}.get(method, "asa{sv}")
        failures = []
        for target, text in bad:
            answer, error = pmd.manager(method, signature, *before, "1", target, *after)
            if answer is not None or text not in error:
                failures.append((target[:40], answer or error))
        tap.equal(failures, [], f"{method}: bad targets are refused")
        if not method.startswith("List"):
            answer, error = pmd.manager(method, signature, "0", *after)
            tap.check("No targets" in error, f"{method}: no targets are refused", answer or error)

    answer, error = pmd.manager("ResolveTargets", "as", "4097", *["all"] * 4097)
    tap.check("More than" in error, "too many targets are refused", answer or error)
    answer, error = pmd.manager("Stop", "asa{sv}", "1", "all", "1", "speed", "s", "high")
    tap.check("Unknown option" in error, "unknown options are refused", answer or error)


def check_definitions(tap, pmd):
    def start(*entries, options=("0",)):
        n = sum(1 for e in entries if isinstance(e, tuple))
        flat = [x for e in entries for x in e]
        return pmd.manager("StartApp", "a{sv}a{sv}", str(n), *flat, *options)

    script, cwd, name = ("script", "s", "/bin/sleep"), ("cwd", "s", "/"), ("name", "s", "fresh")
    cases = [
        ("nothing at all", start()),
        ("no script", start(name, cwd)),
        ("a script that is not there", start(("script", "s", "/no/such/script"), cwd, name)),
        ("a relative cwd", start(script, name, ("cwd", "s", "here"))),
        ("a name that is too long", start(script, cwd, ("name", "s", "n" * 256))),
        ("a name with a slash", start(script, cwd, ("name", "s", "../x"))),
        ("a name that is a number", start(script, cwd, ("name", "s", "12"))),
        ("an unknown attribute", start(script, cwd, name, ("speed", "s", "high"))),
        ("a struct", start(script, cwd, name, ("args", "(ss)", "a", "b"))),
        ("an attribute twice", start(script, cwd, name, ("name", "s", "other"))),
        ("an unknown user", start(script, cwd, name, ("user", "s", "no-such-user-here"))),
        ("an option of the wrong type", start(script, cwd, name, options=("1", "force", "s", "yes"))),
        ("an unknown option", start(script, cwd, name, options=("1", "speed", "b", "true"))),
    ]
    for what, (answer, error) in cases:
        tap.check(answer is None and error, f"StartApp: {what} is refused", answer)
    answer, error = pmd.start_sleeper("sleeper")
    tap.check(answer is None and "already" in error, "StartApp: an app that exists is refused", answer or error)
    answer, error = start(("speed", "s", "x"), ("kill_timeout", "s", "12Q"), script, cwd)
    tap.check("speed" in error and "kill_timeout" in error, "StartApp: all faults are told at once", answer or error)


def check_objects(tap, pmd):
    paths = ["/org/pmd1/process/99", "/org/pmd1/process/00", "/org/pmd1/process/+0", "/org/pmd1/process/4294967296", "/org/pmd1/process",
             "/org/pmd1/process/0/x", "/org/pmd1/app/nosuch", "/org/pmd1/app", "/org/pmd1/app/_", "/org/pmd1/app/sleeper/x", "/org"]
    for path in paths:
        interface = "org.pmd1.App" if "app" in path else "org.pmd1.Process"
        answer, _ = pmd.call(path, interface, "Stop")
        tap.check(answer is None, f"{path} is no object")
    answer, error = pmd.manager("GetApp", "s", "nosuch")
    tap.check("no app" in error, "GetApp of an app that is not there", answer or error)
    answer, error = pmd.manager("GetProcess", "u", "99")
    tap.check("no process" in error, "GetProcess of a process that is not there", answer or error)
    answer, error = pmd.manager("GetEnvironments", "au", "1", "99")
    tap.check("no process" in error, "GetEnvironments of a process that is not there", answer or error)
    for signo in ("0", "-1", "65", "100000"):
        answer, error = pmd.manager("SendSignal", "assi", "1", "all", "main", signo)
        tap.check("no signal" in error, f"{signo} is no signal", answer or error)
    answer, error = pmd.manager("SendSignal", "assi", "1", "all", "everybody", "15")
    tap.check("Whom" in error, "a signal needs to know whom", answer or error)


LIST = method_call(1, "/org/pmd1", "org.pmd1.Manager", "ListProcesses", "as", b"\0\0\0\0")
PING = method_call(1, "/org/pmd1", "org.pmd1.Manager", "Ping")


def check_socket(tap, pmd):
    mode = os.stat(pmd.socket_path).st_mode
    tap.check(stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600, "the private socket is its owner's", oct(mode))

    with connect(pmd.socket_path) as s:
        s.sendall(PING + PING)
        tap.check(receives(s, b"pong", 2), "the private socket answers")
    with connect(pmd.socket_path, login=False) as s:
        s.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
        tap.check(receives(s, b"OK "), "a client may wait for the answer to its login")
        s.sendall(b"BEGIN\r\n" + PING + PING)
        tap.check(receives(s, b"pong", 2), "and send calls along with the end of the login")

    for _ in range(100):
        with connect(pmd.socket_path) as s:
            s.sendall(LIST)
        with connect(pmd.socket_path) as s:
            s.sendall(LIST[: len(LIST) // 2])
        with connect(pmd.socket_path, login=False):
            pass
    tap.check(pmd.answers(), "clients that leave in the middle do no harm")

    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\0AUTH EXTERNAL 6e6f\r\nBEGIN\r\n", b"\0" * 1000, os.urandom(4096) + b"\r\n"):
        with connect(pmd.socket_path, login=False) as s:
            s.sendall(garbage)
            s.shutdown(socket.SHUT_WR)
            tap.check(is_closed_by_peer(s), f"{garbage[:20]!r} is shown the door")
    with connect(pmd.socket_path) as s:
        s.sendall(b"l\1\0\1" + b"\xff" * 28)
        tap.check(is_closed_by_peer(s), "a header that lies is shown the door")
    tap.check(pmd.answers(), "pmd answers after all of these")

    with connect(pmd.socket_path) as s:
        s.sendall(PING.replace(b"org.pmd1.Manager", b"org.pmd1.Nanager"))
        tap.check(receives(s, b"org.freedesktop.DBus.Error.Unknown"), "an unknown interface is an error")


def check_deaf_client(tap, pmd):
    """It asks for more than 32768 answers and reads none of them."""
    with connect(pmd.socket_path) as s:
        try:
            for _ in range(400):
                s.sendall(LIST * 500)
            closed = is_closed_by_peer(s)
        except (BrokenPipeError, ConnectionResetError):
            closed = True
        except socket.timeout:
            closed = False
    tap.check(closed, "a client that never reads is closed")
    tap.check(pmd.answers(), "and the others are served")
    tap.check("does not read" in pmd.messages(), "and pmd says so", pmd.messages())


def check_exit(tap, pmd):
    answer, error = pmd.manager("Exit")
    tap.equal((answer, error), ([], ""), "Exit is answered")
    tap.equal(pmd.pmd.wait(PATIENCE), 0, "and pmd ends well")
    tap.check(not os.path.exists(pmd.socket_path), "and its socket is gone")


def main():
    tap = Tap()
    with Pmd(sys.argv[1]) as pmd:
        answer, error = pmd.start_sleeper("sleeper")
        tap.check(answer, "an app starts", error)
        if not answer:
            print(pmd.messages())
            return tap.done()
        process = f"/org/pmd1/process/{answer[2][0]}"
        objects = {"org.pmd1.Manager": "/org/pmd1", "org.pmd1.App": answer[1], "org.pmd1.Process": process}

        check_wrong_signatures(tap, pmd, objects)
        check_properties(tap, pmd, objects)
        check_values(tap, pmd, "sleeper", process)
        check_packed(tap, pmd)
        check_targets(tap, pmd)
        check_definitions(tap, pmd)
        check_objects(tap, pmd)
        check_socket(tap, pmd)
        check_deaf_client(tap, pmd)
        tap.equal(pmd.manager("ListJobs")[0], [[]], "no job is left over")
        tap.check(pmd.answers(), "pmd has lived through it")
        check_exit(tap, pmd)
    return tap.done()


sys.exit(main())
