#!/usr/bin/env python3
"""Measures pgkeep and its peers in turn and keeps each result as soon as it is there. Started by bench.sh."""

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import machine
import servers
from commands import Failed, measure, run, size_of
from lines import BY_KEY, DATABASES, LINES

# A line that takes longer than this is measured in fewer rounds.
SLOW_SECONDS = 30
STARTS = 20
FORMAT = 1


class Interrupted(BaseException):
    """SIGTERM or SIGHUP: everything started is stopped on the way out."""


def interrupt(*_):
    raise Interrupted


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("--pgkeep", "--programs", "--cache", "--out", "--generator"):
        parser.add_argument(name, default="")
    parser.add_argument("--only", default=",".join(DATABASES))
    parser.add_argument("--what", default="dumps,verify,startup")
    parser.add_argument("--rounds", type=int, default=3)
    for name in ("--quick", "--resume", "--peers-all", "--load-only"):
        parser.add_argument(name, action="store_true")
    return parser.parse_args()


class Results:
    """The results so far, written to their file after each change, whole or not at all."""

    def __init__(self, path, about, resume):
        self.path = Path(path)
        self.all = {"format": FORMAT, **about, "databases": {}, "startup": {}}
        if resume and self.path.exists():
            saved = json.loads(self.path.read_text())
            for name in ("format", "program", "postgresql", "quick", "cores", "processor", "settings"):
                if saved.get(name) != self.all[name]:
                    sys.exit(
                        f"error: the saved results are of another {name}: {saved.get(name)}, not {self.all[name]}\n"
                        "  fix: start without --resume, or name another file with --out"
                    )
            self.all["databases"], self.all["startup"] = saved["databases"], saved["startup"]
        self.save()

    def save(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(self.path.name + ".part")
        part.write_text(json.dumps(self.all, indent=1) + "\n")
        part.replace(self.path)

    def line(self, database, line):
        lines = self.all["databases"][database]["lines"]
        saved = lines.setdefault(line.key, {"runs": []})
        saved.update(what=line.what, side=line.side, label=line.label, command=line.command, note=line.note)
        return saved


class Bench:
    """One run of the benchmark."""

    def __init__(self, options, work):
        self.options, self.work = options, work
        self.settings = dict(servers.SETTINGS)
        self.failures = []
        (work / "bin").mkdir()
        # A copy, so that a build in between changes nothing.
        self.pgkeep = work / "bin" / "pgkeep"
        shutil.copy(options.pgkeep, self.pgkeep)
        self.pgkeep.chmod(0o755)
        about = machine.describe(
            work, self.settings, servers.version_of(options.programs), str(self.pgkeep), options.generator, options.peers_all
        )
        about |= {
            "program": hashlib.sha256(self.pgkeep.read_bytes()).hexdigest()[:16],
            "quick": options.quick,
            "slow_seconds": SLOW_SECONDS,
        }
        self.results = Results(options.out, about, options.resume)
        self.what = options.what.split(",")

    def lines(self):
        return [line for line in LINES if line.what in self.what and (self.options.peers_all or not line.extra)]

    def wanted(self, saved):
        """How many runs a line gets."""
        walls = [one["wall"] for one in saved["runs"]]
        slow = walls and max(walls) > SLOW_SECONDS
        return max(1, (self.options.rounds + 1) // 3) if slow else self.options.rounds

    def database(self, name):
        """Measures everything asked for on one database, in rounds."""
        saved = self.results.all["databases"].setdefault(name, {"about": DATABASES[name][0], "lines": {}})
        saved.pop("error", None)
        lines = self.lines()
        for line in lines:
            self.results.line(name, line).pop("error", None)
        if all(len(self.results.line(name, line)["runs"]) >= self.wanted(self.results.line(name, line)) for line in lines):
            return
        begin = time.monotonic()
        data, seconds = servers.loaded(
            name, scale_of(name, self.options), self.options.programs, self.options.cache, self.options.generator
        )
        if seconds is not None:
            saved["load_seconds"] = round(seconds)
        folder = self.work / name
        folder.mkdir()
        folder.chmod(0o711)
        with servers.Server(self.options.programs, data, self.settings) as server:
            self.warm_up(name, server, folder, saved)
            if "restores" in self.what:
                empty = self.work / f"{name}-restored"
                servers.make_cluster(self.options.programs, empty)
                with servers.Server(self.options.programs, empty, self.settings) as target:
                    self.rounds(name, lines, server, target, folder)
                shutil.rmtree(empty)
            else:
                self.rounds(name, lines, server, None, folder)
        shutil.rmtree(folder)
        print(f"==> {name}: done in {time.monotonic() - begin:.0f} s", flush=True)

    def warm_up(self, name, server, folder, saved):
        """Reads the whole database once into the memory of server and system, and pgkeep's program with it."""
        environment = server.environment(name, self.work)
        saved["sql_bytes"] = int(run("pg_dump | wc -c", folder, environment))
        saved["database_bytes"] = int(server.sql("postgres", f"select pg_database_size('{name}')"))
        saved["settings"] = {
            row.split("|")[0]: row.split("|")[1]
            for row in server.sql(
                name,
                "select name, current_setting(name) from pg_settings where name in ('shared_buffers', 'fsync', 'work_mem', "
                "'max_locks_per_transaction', 'maintenance_work_mem', 'max_wal_size') order by 1",
            ).splitlines()
        }
        print(
            f"==> {name}: {saved['sql_bytes'] / 1e6:.0f} MB of SQL, {saved['database_bytes'] / 1e6:.0f} MB in the server",
            flush=True,
        )
        try:
            self.prepare(BY_KEY["pgkeep-gzip"], server.environment(name, self.work), folder)
            run(BY_KEY["pgkeep-gzip"].words(), folder, environment)
        except Failed:
            pass  # the measured run will fail too, and is reported
        self.results.save()

    def rounds(self, name, lines, server, target, folder):
        for number in range(self.options.rounds):
            for line in lines:
                saved = self.results.line(name, line)
                if "error" in saved or len(saved["runs"]) >= min(number + 1, self.wanted(saved)):
                    continue
                try:
                    one = self.line(name, line, server, target, folder)
                    saved["runs"].append(one)
                    print(
                        f"    {name:9} {number + 1}  {line.key:20} {one['wall']:8.2f} s   processor "
                        f"{one['client_cpu'] + one['server_cpu']:7.2f} s   {one['peak_own' if line.side == 'pgkeep' else 'peak_all'] / 2**20:5.0f} MiB"
                        + (f"   {one['size'] / 1e6:7.1f} MB" if "size" in one else ""),
                        flush=True,
                    )
                except Failed as failure:
                    saved["error"] = self.without_paths(str(failure))
                    self.failures.append(f"{name}: {line.command}: {saved['error']}")
                    print(f"    {name:9} {number + 1}  {line.key:20} FAILED: {saved['error']}", flush=True)
                self.results.save()

    def line(self, name, line, server, target, folder):
        """One measured run."""
        if line.needs and not (folder / BY_KEY[line.needs].makes).exists():
            maker = BY_KEY[line.needs]
            self.prepare(maker, server.environment(name, self.work), folder)
            run(maker.words(), folder, server.environment(name, self.work))
        restores = line.what == "restores"
        environment = target.environment("postgres", self.work) if restores else server.environment(name, self.work)
        if line.extra:
            environment |= self.settings_of(line, server, folder)
        prefix = servers.as_server_user()[0] if line.as_server else []
        try:
            self.prepare(line, environment, folder, prefix)
            one = measure(line.words(), folder, environment, [each.pid for each in (server, target) if each], prefix=prefix)
            if line.makes:
                one["size"] = size_of(folder / line.makes)
            return one
        finally:
            if restores:
                target.sql("postgres", "drop database if exists restored with (force)")
                target.sql("postgres", "checkpoint")

    def prepare(self, line, environment, folder, prefix=()):
        """Removes what an earlier run of the line made, and runs what comes before it."""
        made = folder / line.makes if line.makes else None
        if made and made.is_dir():
            shutil.rmtree(made)
        elif made:
            made.unlink(missing_ok=True)
        if line.as_server:
            owner = servers.as_server_user()[1]
            made.mkdir()
            if owner:
                os.chown(made, *owner)
        if line.first:
            run(line.first.split(), folder, environment, prefix)

    @staticmethod
    def settings_of(line, server, folder):
        """The environment that restic and pgBackRest need."""
        made = folder / line.makes
        if line.key == "restic":
            return {
                "RESTIC_REPOSITORY": str(made),
                "RESTIC_PASSWORD": "benchmark",
                "RESTIC_CACHE_DIR": str(folder / ".restic-cache"),
            }
        return {
            f"PGBACKREST_{name}": value
            for name, value in {
                "STANZA": "bench",
                "PG1_PATH": str(server.data),
                "PG1_SOCKET_PATH": str(server.socket),
                "PG1_USER": "postgres",
                "REPO1_PATH": str(made),
                "LOCK_PATH": str(made / "lock"),
                "LOG_PATH": str(made),
                "LOG_LEVEL_FILE": "off",
                "LOG_LEVEL_STDERR": "error",
                "LOG_LEVEL_CONSOLE": "off",
                "PROCESS_MAX": "2",
                "START_FAST": "y",
                "ARCHIVE_CHECK": "n",
                "CONFIG": "/dev/null",
                "CONFIG_INCLUDE_PATH": str(made),
            }.items()
        }

    def startup(self):
        """How long pgkeep takes to say its version, and to list backups."""
        backups = 10 if self.options.quick else 100
        done = self.results.all["startup"]
        if "error" not in done and {"version", "list"} <= done.keys() and done["backups"] == backups:
            return
        done.clear()
        done["backups"] = backups
        folder = self.work / "startup"
        folder.mkdir()
        data = self.work / "startup-data"
        servers.make_cluster(self.options.programs, data)
        try:
            with servers.Server(self.options.programs, data, self.settings) as server:
                server.sql("postgres", "create database small")
                server.sql("small", "create table greetings as select 'hello' as greeting")
                environment = server.environment("small", self.work)
                print(f"==> startup: taking {backups} small backups", flush=True)
                for _ in range(backups):
                    run("pgkeep backup now -q --to ./backups", folder, environment)
                for key, command in (
                    ("version", ["pgkeep", "--version"]),
                    ("list", ["pgkeep", "backup", "list", "--at", "./backups"]),
                ):
                    runs = [measure(command, folder, environment, watch=False) for _ in range(STARTS + 1)][1:]
                    done[key] = {"command": " ".join(command), "runs": runs}
                    print(
                        f"    startup    {key:22} {sorted(one['wall'] for one in runs)[STARTS // 2] * 1000:8.1f} ms", flush=True
                    )
        except Failed as failure:
            done["error"] = self.without_paths(str(failure))
            self.failures.append(f"startup: {done['error']}")
        self.results.save()

    def without_paths(self, text):
        for path, name in ((str(self.work), "WORK"), (str(self.options.programs), "BIN"), (str(self.options.cache), "CACHE")):
            text = text.replace(path, name)
        return text


def main():
    options = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    cache = Path(options.cache)
    cache.mkdir(parents=True, exist_ok=True)
    cache.chmod(0o711)
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("error: another benchmark is running, and would disturb this one\n  fix: wait until it is done")
        for old in cache.glob("work-*"):
            sockets = old / "sockets"
            for socket in sockets.read_text().splitlines() if sockets.exists() else []:
                shutil.rmtree(socket, ignore_errors=True)
            shutil.rmtree(old)
        work = Path(tempfile.mkdtemp(prefix="work-", dir=cache))
        work.chmod(0o711)
        servers.Server.left_behind = work / "sockets"
        try:
            return load(options) if options.load_only else measured(options, work)
        except (KeyboardInterrupt, Interrupted):
            print(
                "interrupted"
                + ("" if options.load_only else f"; what was measured is in {options.out}, and --resume goes on from there"),
                file=sys.stderr,
            )
            return 130
        finally:
            shutil.rmtree(work, ignore_errors=True)


def scale_of(name, options):
    return DATABASES[name][1] if options.quick else 1


def load(options):
    """Only loads the databases, for a later run."""
    for name in options.only.split(","):
        servers.loaded(name, scale_of(name, options), options.programs, options.cache, options.generator)
    return 0


def measured(options, work):
    bench = Bench(options, work)
    for name in options.only.split(","):
        if bench.lines():
            try:
                bench.database(name)
            except Failed as failure:
                text = bench.without_paths(str(failure))
                bench.results.all["databases"][name]["error"] = text
                bench.failures.append(f"{name}: {text}")
                bench.results.save()
    if "startup" in bench.what:
        bench.startup()
    for failure in bench.failures:
        print(f"error: {failure}", file=sys.stderr)
    return 3 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
