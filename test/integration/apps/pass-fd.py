#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Calls Ping() of an interface of pmd on the system bus, with a descriptor that it does not take, and prints the name of the error. No library that could pass one is
everywhere."""
import os
import socket
import struct
import sys

INTERFACE = sys.argv[1]


def align(data, n):
    return data + b"\0" * (-len(data) % n)


def string(text):
    return struct.pack("<I", len(text)) + text.encode() + b"\0"


def field(header, code, signature, value):
    return align(header, 8) + struct.pack("<BB", code, 1) + signature.encode() + b"\0" + value


def call(serial, destination, path, interface, member, signature="", body=b"", n_fds=0):
    fields = b""
    for code, kind, text in ((1, "o", path), (2, "s", interface), (3, "s", member), (6, "s", destination)):
        fields = field(fields, code, kind, string(text))
    if signature:
        fields = field(fields, 8, "g", struct.pack("<B", len(signature)) + signature.encode() + b"\0")
    if n_fds:
        fields = field(fields, 9, "u", struct.pack("<I", n_fds))
    return align(struct.pack("<BBBBIII", ord("l"), 1, 0, 1, len(body), serial, len(fields)) + fields, 8) + body


def read_exactly(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        if not more:
            raise SystemExit("the bus has closed the connection")
        data += more
    return data


def next_message(s):
    head = read_exactly(s, 16)
    n_body, _, n_fields = struct.unpack("<III", head[4:16])
    rest = read_exactly(s, n_fields + -n_fields % 8 + n_body)
    return head[1], rest


bus = socket.socket(socket.AF_UNIX)
bus.settimeout(30)
bus.connect("/run/dbus/system_bus_socket")
bus.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n")
answers = b""
while answers.count(b"\r\n") < 2:
    answers += bus.recv(1)
assert b"AGREE_UNIX_FD" in answers, answers
bus.sendall(call(1, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello"))
message = call(2, "org.pmd1", "/org/pmd1", INTERFACE, "Ping", "h", struct.pack("<I", 0), 1)
socket.send_fds(bus, [message], [os.open("/dev/null", os.O_RDONLY)])
while True:
    kind, rest = next_message(bus)
    if kind == 3:
        print([word for word in rest.decode(errors="replace").split("\0") if "Error." in word][0])
        break
