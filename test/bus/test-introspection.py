#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the running daemon answers to Introspect() is what dbus/org.pmd1.xml says. Argument: the build directory."""

import sys

from pmdtest import Pmd, Tap, interfaces_of, own_interfaces


def compare(tap, interface, expected, got):
    for member in sorted(set(expected) | set(got)):
        tap.equal(got.get(member), expected.get(member), f"{interface}: {' '.join(member)}")


def main():
    tap = Tap()
    with Pmd(sys.argv[1]) as pmd:
        answer, error = pmd.start_sleeper("Ä b-1")
        tap.check(answer, "an app starts", error)
        if not answer:
            return tap.done()
        _, app, processes = answer
        objects = {
            "org.pmd1.Manager": "/org/pmd1",
            "org.pmd1.App": app,
            "org.pmd1.Process": f"/org/pmd1/process/{processes[0]}",
        }
        documented = own_interfaces()
        tap.equal(sorted(documented), sorted(objects), "the file documents the three interfaces")

        for interface, path in objects.items():
            answer, error = pmd.call(path, "org.freedesktop.DBus.Introspectable", "Introspect")
            tap.check(answer, f"{path} can be introspected", error)
            running = interfaces_of(answer[0])
            own = {i for i in running if i.startswith("org.pmd1.")}
            tap.equal(own, {interface}, f"{path} has its interface and no other of ours")
            compare(tap, interface, documented[interface], running.get(interface, {}))
            if path == "/org/pmd1":
                tap.check("org.freedesktop.DBus.ObjectManager" in running, "/org/pmd1 has an object manager")

        answer, error = pmd.call("/org/pmd1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        tap.check(answer is not None, "the managed objects can be listed", error)
        if answer:
            tap.equal({p for p, i in answer[0].items() if "org.pmd1.App" in i}, {app}, "the app is a managed object")
            tap.equal(
                {p for p, i in answer[0].items() if "org.pmd1.Process" in i},
                {objects["org.pmd1.Process"]}, "the process is a managed object",
            )
    return tap.done()


sys.exit(main())
