# SPDX-License-Identifier: MIT
"""The files in which pmd keeps what it knows of processes, as src/shared/process-states.h and src/pmd/definition-file.h describe them."""

import contextlib
import json
import os

SLOT_SIZE = 4096


def _read(*path):
    with contextlib.suppress(FileNotFoundError), open(os.path.join(*path), "rb") as f:
        return f.read()
    return b""


def states(run):
    """{number of the slot: what is known of a process}, of all slots that are not free."""
    text, found = _read(run, "processes"), {}
    for slot in range(1, (len(text) + SLOT_SIZE - 1) // SLOT_SIZE + 1):
        state = text[(slot - 1) * SLOT_SIZE:slot * SLOT_SIZE].split(b"\0")[0]
        if state:
            found[slot] = json.loads(state)
            if "long" in found[slot]:
                found[slot] = json.loads(_read(run, "long-processes", str(slot)))
    return found


def write_state(run, slot, state):
    """In place of what is in a slot."""
    text = json.dumps(state, separators=(",", ":")).encode() + b"\0"
    assert len(text) <= SLOT_SIZE
    with open(os.path.join(run, "processes"), "r+b") as f:
        f.seek((slot - 1) * SLOT_SIZE)
        f.write(text)


def definitions(run):
    """{serial: definition}"""
    return {int(line.split(b" ", 1)[0]): json.loads(line.split(b" ", 1)[1]) for line in _read(run, "definitions").splitlines(True) if line.endswith(b"\n")}


def definitions_of(state):
    return {state[key] for key in ("definition", "next_definition") if key in state}


def requests(run):
    """What is open or may be asked for again: [its jobs that have not ended]."""
    found = []
    for line in (line for line in _read(run, "requests").splitlines(True) if line.endswith(b"\n")):
        o = json.loads(line)
        if "jobs" in o:
            found.append((o, {job["id"] for job in o["jobs"] if "result" not in job}))
        for _, open_jobs in found:
            open_jobs.discard(o.get("id"))
    return [open_jobs for o, open_jobs in found if open_jobs or "token" in o]


def left(run):
    """What is there of processes, in words."""
    found = [f"process {s.get('id')}, {s.get('role')}" for s in states(run).values()] + [f"definition {n}" for n in definitions(run)]
    with contextlib.suppress(FileNotFoundError):
        found += [os.path.join("long-processes", f) for f in os.listdir(os.path.join(run, "long-processes"))]
    return found
