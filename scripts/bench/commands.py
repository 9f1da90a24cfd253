"""Runs one command and measures it: wall time, processor time of its processes and of the servers, peak memory."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A command failed; the text says which and why."""


def processes():
    """Of each process of this machine its parent, and the ticks that it and the children it waited for have used."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name, which is in parentheses and may hold anything: state, parent, ...
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[int(stat.parent.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    return found


def used_by_machine():
    """Processor seconds of everything on this machine, and of those its host gave to others."""
    with open("/proc/stat", encoding="ascii") as stat:
        # user, nice, system, idle, iowait, irq, softirq, steal; guests are in user and nice already
        ticks = [int(word) for word in stat.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS


def used_by(servers):
    """Processor seconds, user and system, of the servers' processes, and which these are now. 0.01 s exact.

    A postmaster waits for each of its processes, so what they used is found there once they are gone.
    """
    all_processes = processes()
    living = {pid for pid, (parent, _) in all_processes.items() if pid in servers or parent in servers}
    return sum(all_processes[pid][1] for pid in living) / TICKS, living


def used_after(servers, before):
    """The same after a command: waits for the processes that served it to end, or 2 s if one stays."""
    until = time.monotonic() + 2
    while True:
        used, living = used_by(servers)
        if living <= before or time.monotonic() > until:
            return used
        time.sleep(0.01)


class Peak(threading.Thread):
    """Watches the most memory held by a process alone, and together with its descendants.

    It reads the kernel's own high-water marks every 20 ms; they are gone with their process, so what the last 20 ms added is
    not seen.
    """

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid = pid
        self.ended = threading.Event()
        self.own = self.all = 0

    def run(self):
        while not self.ended.wait(0.02):
            own, todo, together = high_water_mark(self.pid), [self.pid], 0
            while todo:
                pid = todo.pop()
                together += high_water_mark(pid)
                try:
                    todo += Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                except OSError:
                    continue
            self.own, self.all = max(self.own, own), max(self.all, together)

    def finish(self):
        self.ended.set()
        self.join()


def high_water_mark(pid):
    """The most memory that the process held so far, in bytes; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def size_of(path):
    """Bytes of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    return path.stat().st_size


def words_of(command):
    """A list is a program and its arguments; a text is for the shell, and fails if any part of a pipe fails."""
    return command if isinstance(command, list) else ["bash", "-o", "pipefail", "-c", command]


def measure(command, folder, environment, servers=(), watch=True, prefix=()):
    """Runs `command` and returns what it took; raises Failed if it failed.

    `servers` are the process ids of the postmasters whose processor time counts. Without `watch` nothing looks at its
    memory, which would cost a command of a few milliseconds more than it takes.
    """
    errors = Path(folder) / ".stderr"
    os.sync()  # so that nothing is still written to the disk for the command before
    used, living = used_by(servers)
    machine = used_by_machine()
    with errors.open("wb") as stream:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [*prefix, *words_of(command)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stream,
            start_new_session=True,
        )
        peak = Peak(process.pid)
        if watch:
            peak.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begin
            machine = used_by_machine() - machine
            process.returncode = os.waitstatus_to_exitcode(status)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            if watch:
                peak.finish()
    if process.returncode != 0:
        lines = [line.strip() for line in errors.read_text(errors="replace").splitlines() if line.strip()]
        raise Failed(" / ".join(lines[:3]) or f"exit code {process.returncode}, without a word")
    client, server = usage.ru_utime + usage.ru_stime, used_after(servers, living) - used
    return {
        "wall": round(wall, 5),
        "client_cpu": round(client, 3),
        "server_cpu": round(server, 2),
        "foreign_cpu": round(max(0, machine - client - server), 2),
        "peak_own": peak.own,
        "peak_all": peak.all,
    }


def run(command, folder, environment, prefix=()):
    """Runs `command` unmeasured and returns what it printed; raises Failed if it failed."""
    done = subprocess.run(
        [*prefix, *words_of(command)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        name = Path(command[0]).name if isinstance(command, list) else command
        raise Failed(f"{name}: " + " / ".join(lines[-4:]))
    return done.stdout
