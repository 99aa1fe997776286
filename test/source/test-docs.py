# SPDX-License-Identifier: MIT
"""Holds the manual pages, the completions, the README and the XML against what the programs say of themselves."""
import glob
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

from checks import ROOT, check, done, read

BUILD = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build")


def output(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True,
                          env=dict(os.environ, PMD_HOME="/nonexistent")).stdout


def roff_to_text(text):
    text = re.sub(r"\\f[BIRP]|\\&", "", text).replace(r"\-", "-").replace(r"\(dq", '"')
    return re.sub(r"^\.[A-Z]{1,2} ?", "", text, flags=re.M)


help_text = output(os.path.join(BUILD, "src/pmctl"), "--help")
verbs_text = help_text[help_text.index("Verbs:"):help_text.index("Options:")]
verbs = {word for name, aliases in re.findall(r"^  ([\w-]+)(?: \(([^)]*)\))?", verbs_text, re.M) for word in [name, *aliases.split()]}
options = set(re.findall(r"--[a-z][a-z0-9-]+", "\n".join(line[:38] for line in help_text.splitlines() if line.startswith("  "))))
manual = roff_to_text(read("man/pmctl.1"))
pages = {os.path.basename(p): roff_to_text(read(p)) for p in glob.glob(os.path.join(ROOT, "man/*.[1-8]"))}

check("pmctl has verbs and options", [] if len(verbs) > 20 and len(options) > 30 else [f"{len(verbs)} verbs, {len(options)} options"])
check("pmctl(1) has every verb", sorted(v for v in verbs if not re.search(rf"\b{re.escape(v)}\b", manual)))
check("pmctl(1) has every option", sorted(o for o in options if not re.search(rf"{re.escape(o)}(?![a-z-])", manual)))
check("pmctl(1) names no option that pmctl does not know",
      sorted(o for o in set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", manual)) - options if o not in ("--help", "--version", "--port")  # --port: of an app, in an example
             and "unknown option" in subprocess.run([os.path.join(BUILD, "src/pmctl"), "help", o], capture_output=True, text=True,
                                                    env=dict(os.environ, PMD_HOME="/nonexistent")).stderr))
offered = {line.split("\t")[0] for line in output(os.path.join(BUILD, "src/pmctl"), "__complete", "verbs").splitlines()}
check("the completions are offered every verb", sorted(verbs ^ offered))
for shell in ("pmctl.bash", "_pmctl", "pmctl.fish"):
    check(f"{shell} asks pmctl", [] if "__complete" in read(f"completions/{shell}") else [shell])
check("each verb has a help of its own",
      sorted(v for v in verbs if not output(os.path.join(BUILD, "src/pmctl"), v, "--help").startswith("Usage: pmctl")))

attributes = {line.split("\t")[0] for line in output(os.path.join(BUILD, "src/pmctl"), "__complete", "attributes").splitlines()}
with open(os.path.join(ROOT, "man/pmd-app.5")) as f:
    headings = re.findall(r"^\.TP\n(\\fB.*)$", f.read(), re.M)
described = [name for heading in headings for name in re.findall(r"\\fB([a-z0-9_]+)\\fR", heading)]
check("pmctl knows attributes", [] if len(attributes) > 100 else [str(len(attributes))])
check("pmd-app(5) has every attribute and alias", sorted(attributes - set(described)))
check("pmd-app(5) has no attribute that there is not", sorted(set(described) - attributes))
check("pmd-app(5) has each of them once", sorted({name for name in described if described.count(name) > 1}))

pmd_options = set(re.findall(r"--[a-z][a-z-]+", output(os.path.join(BUILD, "src/pmd"), "--help")))
check("pmd(8) has every option of pmd", sorted(o for o in pmd_options if o not in pages["pmd.8"]))

xml_text = read("dbus/org.pmd1.xml")
members = [(m.tag, m.get("name")) for i in ET.fromstring(xml_text).iter("interface") for m in i if m.tag != "annotation"]
check("the XML has members", [] if len(members) > 50 else [str(len(members))])
errors = set(re.findall(r'"org\.pmd1\.Error\.(\w+)"', read("src/shared/pmd-protocol.h")))
check("the XML names every error", sorted(e for e in errors if not re.search(rf"\b{e}\b", xml_text)))

exported = set(re.findall(r"^\s+(pmd_\w+);", read("src/libpmd/libpmd.sym"), re.M))
declared = set(re.findall(r"\b(pmd_\w+)\(", re.sub(r"/\*.*?\*/|typedef.*?;", "", read("src/libpmd/pmd.h"), flags=re.S)))
check("libpmd exports what pmd.h declares", sorted(exported ^ declared))


def faults_of_row(row):
    """A test that it names and that there is not."""
    for path, names in re.findall(r"`(test/[^`]+\.(?:py|sh|c))`(?: \(([^)]*)\))?", row):
        if not os.path.exists(os.path.join(ROOT, path)):
            yield path
            continue
        for name in re.findall(r"`(\w+)`", names):
            if not re.search(rf"^(?:def |TEST\(){name}\b", read(path), re.M):
                yield f"{path}: {name}"
            elif path.endswith(".py") and len(re.findall(rf"\b{name}\b", read(path))) < 2:
                yield f"{path}: {name} is never called"


rows = re.findall(r"^\| (R-\d+ .*)$", read("doc/RELIABILITY.md"), re.M)
check("doc/RELIABILITY.md has rows", [] if len(rows) > 40 else [str(len(rows))])
check("doc/RELIABILITY.md names tests that there are", [f"{row[:4]} {fault}" for row in rows for fault in faults_of_row(row)])
check("each row of it names a test or another row", [row for row in rows if not re.search(r"`test/|\bR-\d+\. ", row[4:])])

readme = read("README.md")
check("the README's links lead somewhere", [t for t in re.findall(r"\]\(([^)#]+)\)", readme) if "://" not in t and not os.path.exists(os.path.join(ROOT, t))])
check("the README's two commands are there", [c for c in ("examples/run", "test/run") if not os.access(os.path.join(ROOT, c), os.X_OK) or f"    {c}\n" not in readme])
check("the README knows only verbs of pmctl",
      sorted({v for v in re.findall(r"^    pmctl (\w+)", readme, re.M)} - verbs))
settings = [line.split("\t")[0] for line in output(os.path.join(BUILD, "src/pmctl"), "__complete", "settings").splitlines()]
check("pmd.conf(5) has every setting and no other",
      sorted(set(settings) ^ set(re.findall(r"^(\w+)=$", pages["pmd.conf.5"], re.M))) or [] if settings else ["no settings"])

raise SystemExit(done())
