"""PostgreSQL servers of the benchmark's own: private, over a unix socket only, gone when the benchmark is."""

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from commands import Failed, run

HERE = Path(__file__).resolve().parent
# Everything else is as PostgreSQL has it. Locks: pg_dump locks each of ten thousand tables in one transaction.
SETTINGS = {"fsync": "off", "max_locks_per_transaction": "1024", "timezone": "UTC"}
# Only while data is loaded: quicker, and with less of a log, which stays in the folder.
LOADING = {
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "maintenance_work_mem": "512MB",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}
START_SECONDS = 120


def as_server_user():
    """How a command is run as the user that the servers run as: PostgreSQL refuses root. Also the user's ids."""
    if os.geteuid() != 0:
        return [], None
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"], (user.pw_uid, user.pw_gid)
    sys.exit("error: PostgreSQL does not run as root, and there is no user postgres or nobody\n  fix: run this as another user")


class Server:
    """A running server. It dies with this process: the kernel tells it to stop (`setpriv --pdeathsig`)."""

    # A file of the sockets' folders, by which a later run finds those of one that was killed.
    left_behind = Path(os.devnull)

    def __init__(self, programs, data, settings):
        self.programs, self.data, self.settings = Path(programs), Path(data), settings
        self.process, self.socket = None, None

    def __enter__(self):
        prefix, owner = as_server_user()
        # /tmp, whatever TMPDIR says: a socket's path must stay under 107 bytes.
        self.socket = Path(tempfile.mkdtemp(prefix="pgkeep-bench-", dir="/tmp"))
        if owner:
            os.chown(self.socket, *owner)
        with self.left_behind.open("a", encoding="utf-8") as left:
            left.write(f"{self.socket}\n")
        command = [
            *(prefix or ["setpriv"]),
            "--pdeathsig",
            "QUIT",
            str(self.programs / "postgres"),
            "-D",
            str(self.data),
            "-k",
            str(self.socket),
            "-c",
            "listen_addresses=",
        ]
        for name, value in self.settings.items():
            command += ["-c", f"{name}={value}"]
        try:
            with (self.socket / "log").open("wb") as log:
                self.process = subprocess.Popen(
                    command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            self.wait_until_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def wait_until_ready(self):
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self.sql("postgres", "select 1")
                return
            except Failed as failure:
                if self.process.poll() is not None or time.monotonic() > until:
                    log = (self.socket / "log").read_text(errors="replace").strip().splitlines()
                    raise Failed("the server does not start: " + " / ".join(log[-4:])) from failure
                time.sleep(0.05)

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # ends all sessions, then writes everything down
            try:
                self.process.wait(120)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait()
        shutil.rmtree(self.socket, ignore_errors=True)

    @property
    def pid(self):
        return self.process.pid

    def environment(self, database, home):
        """The environment in which a client finds `database` here, and nothing of this user's own."""
        return {
            "PATH": f"{home}/bin:{self.programs}:{os.environ['PATH']}",
            "PGHOST": str(self.socket),
            "PGUSER": "postgres",
            "PGDATABASE": database,
            "DATABASE_URL": f"host={self.socket} user=postgres dbname={database}",
            "PGKEEP_BIN_DIR": str(self.programs),
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        }

    def sql(self, database, text):
        """Runs one statement and returns what it answers."""
        return run(
            [str(self.programs / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text],
            "/",
            self.environment(database, "/"),
        ).strip()


def version_of(programs):
    return run([str(Path(programs) / "postgres"), "--version"], "/", dict(os.environ)).split(") ")[-1].split()[0]


def make_cluster(programs, data):
    """An empty cluster in the new folder `data`."""
    prefix, owner = as_server_user()
    data.mkdir(parents=True, mode=0o700)
    if owner:
        os.chown(data, *owner)
    run(
        [
            str(Path(programs) / "initdb"),
            "-D",
            str(data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ],
        "/",
        {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        prefix,
    )


def loaded(name, scale, programs, cache, generator):
    """The folder of a cluster with the database `name`: from the cache, or loaded now. Also how long loading took."""
    script = HERE / f"{name}.sql"
    version = version_of(programs)
    made_by = run([generator, "--version"], "/", dict(os.environ)) if name == "tpch" else ""
    stamp = hashlib.sha256("\0".join([script.read_text(), version, str(scale), made_by, str(LOADING)]).encode()).hexdigest()[:12]
    kind = f"{name}-{version.split('.', maxsplit=1)[0]}-{scale}"
    folder = Path(cache) / f"{kind}-{stamp}"
    if folder.is_dir():
        return folder, None
    print(f"==> loading {name} (once; it is kept in {cache})", flush=True)
    begin = time.monotonic()
    for old in [*Path(cache).glob(f"{kind}-????????????"), *Path(cache).glob("loading-*")]:
        shutil.rmtree(old)
    work = Path(cache) / f"loading-{name}"
    source = Path(cache) / "loading-source"
    source.mkdir()
    if name == "tpch":
        run([generator, "csv", "-s", str(scale), "-o", str(source)], "/", dict(os.environ))
    make_cluster(programs, work)
    with Server(programs, work, {**SETTINGS, **LOADING}) as server:
        server.sql("postgres", f"create database {name}")
        run(
            [
                str(Path(programs) / "psql"),
                "-X",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-v",
                f"scale={scale}",
                "-o",
                "/dev/null",
                "-f",
                str(script),
            ],
            source,
            server.environment(name, "/"),
        )
        # Now, so that no later reader has to mark rows as seen and no autovacuum comes in between.
        server.sql(name, "vacuum (freeze, analyze)")
        server.sql(name, "checkpoint")
    os.sync()
    shutil.rmtree(source)
    work.rename(folder)
    seconds = time.monotonic() - begin
    print(f"==> loading {name}: done in {seconds:.0f} s", flush=True)
    return folder, seconds
