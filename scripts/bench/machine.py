"""Describes the machine and the programs, without names of hosts or folders."""

import os
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path


def first_line(*command, environment=None):
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment, check=False)
    except FileNotFoundError:
        return None
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def version_in(line):
    found = re.search(r"\d+(\.\d+)+", line or "")
    return found.group() if found else None


def filesystem_of(folder):
    """The type of the filesystem that `folder` is on."""
    best = ("", "unknown")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4]
        if (str(folder) + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best[0]):
            best = (point, after.split()[0])
    return best[1]


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model", "cpu model")):
            return re.sub(r"\((R|TM)\)", "", line.split(":", 1)[1]).strip()
    return os.uname().machine


def describe(work, settings, server_version, pgkeep, generator, peers_all):
    """What the figures depend on. `pgkeep` is the program's path; its folder is not told."""
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    release = (
        dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', Path("/etc/os-release").read_text(), re.M))
        if Path("/etc/os-release").exists()
        else {}
    )
    peers = {name: version_in(first_line(name, "--version")) for name in ("gzip", "pigz", "zstd")}
    if peers_all:
        peers |= {name: version_in(first_line(name, "version")) for name in ("restic", "pgbackrest")}
    if generator:
        peers["tpchgen-cli"] = version_in(first_line(generator, "--version"))
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": int(memory.group(1)) * 1024 if memory else None,
        "system": release.get("PRETTY_NAME", os.uname().sysname),
        "kernel": f"{os.uname().sysname} {version_in(os.uname().release) or os.uname().release}",
        "filesystem": filesystem_of(work),
        "postgresql": server_version,
        "settings": settings,
        "pgkeep": first_line(pgkeep, "--version"),
        "peers": peers,
    }
