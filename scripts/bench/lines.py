"""What is measured: one line for each command of the tables, pgkeep's and its peers'."""

import re
import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One command. It runs in a folder of its own database, with the environment of a client of its server."""

    key: str
    what: str  # dumps, verify or restores
    side: str  # peer or pgkeep
    command: str  # as it is shown
    makes: str = ""  # the file or folder whose size counts, removed before each run
    needs: str = ""  # the key of the line that makes what this one reads
    shell: bool = False
    first: str = ""  # run before it, unmeasured
    extra: bool = False  # only with --peers-all
    as_server: bool = False  # runs as the server's user, on the server's files
    note: str = ""
    of: str = ""  # what the label must say besides

    @property
    def label(self):
        """The command without what every one needs: where to, how loud."""
        label = re.sub(
            r" > dump\S*| < dump\S*| -q\b| -X| -v \S+| -d \S+| -o \S+| -f \S+| dump\.\S+| --(?:to|at|into|stdin-filename) \S+| latest$",
            "",
            self.command,
        )
        return f"{label} ({self.of})" if self.of else label

    def words(self):
        """A text for the shell, which a single program replaces, or a list."""
        if not self.shell:
            return shlex.split(self.command)
        return self.command if "|" in self.command else f"exec {self.command}"


def peer(key, command, **more):
    return Line(key, "dumps", "peer", command, shell=True, **more)


def pgkeep(key, options):
    return Line(f"pgkeep-{key}", "dumps", "pgkeep", f"pgkeep backup now -q{options} --to ./pgkeep-{key}", makes=f"pgkeep-{key}")


LINES = [
    peer("pg_dump", "pg_dump > /dev/null"),
    peer("zstd", "pg_dump | zstd -q > dump.sql.zst", makes="dump.sql.zst"),
    peer("zstd-T0", "pg_dump | zstd -q -T0 > dump-T0.sql.zst", makes="dump-T0.sql.zst"),
    peer("pigz", "pg_dump | pigz > dump-pigz.sql.gz", makes="dump-pigz.sql.gz"),
    peer("gzip", "pg_dump | gzip > dump.sql.gz", makes="dump.sql.gz"),
    peer("Fd", "pg_dump -Fd -j 2 -f dump.dir", makes="dump.dir"),
    peer("Fc", "pg_dump -Fc -f dump.custom", makes="dump.custom"),
    pgkeep("gzip", ""),
    pgkeep("zstd", " --compression zstd"),
    pgkeep("gzip-j2", " --jobs 2"),
    pgkeep("zstd-j2", " --jobs 2 --compression zstd"),
    peer(
        "restic",
        "pg_dump | restic -q backup --stdin --stdin-filename dump.sql",
        makes="restic",
        extra=True,
        first="restic -q init",
        note="with restic's own encryption and its search for parts it has already; each time into a new repository",
    ),
    peer(
        "pgbackrest",
        "pgbackrest backup --type=full",
        makes="pgbackrest",
        extra=True,
        as_server=True,
        first="pgbackrest stanza-create --no-online",
        note="a copy of the server's files, all databases and indexes with them: restored only as a whole, into the same major "
        "version; no SQL is made or read, so it is not the same work",
    ),
    Line("verify-gzip", "verify", "pgkeep", "pgkeep backup verify -q --at ./pgkeep-gzip latest", needs="pgkeep-gzip", of="gzip"),
    Line("verify-zstd", "verify", "pgkeep", "pgkeep backup verify -q --at ./pgkeep-zstd latest", needs="pgkeep-zstd", of="zstd"),
    Line("gunzip-t", "verify", "peer", "gzip -t dump.sql.gz", needs="gzip", note="compares gzip's own checksum, nothing else"),
    Line(
        "psql",
        "restores",
        "peer",
        "gunzip < dump.sql.gz | psql -q -X -v ON_ERROR_STOP=1 -d restored -o /dev/null",
        needs="gzip",
        shell=True,
        first="createdb restored",
    ),
    Line("pg_restore", "restores", "peer", "pg_restore -j 2 -d restored dump.dir", needs="Fd", first="createdb restored"),
    Line(
        "pgkeep-restore",
        "restores",
        "pgkeep",
        "pgkeep restore -q --at ./pgkeep-gzip --into restored latest",
        needs="pgkeep-gzip",
        note="restores, then dumps the new database and compares every object and row",
    ),
    Line(
        "pgkeep-restore-only",
        "restores",
        "pgkeep",
        "pgkeep restore -q --no-prove --at ./pgkeep-gzip --into restored latest",
        needs="pgkeep-gzip",
    ),
]
BY_KEY = {line.key: line for line in LINES}

# The databases: what is in them, and the part of it that --quick loads.
DATABASES = {
    "shop": ("customers, orders, order lines and jsonb events", 0.01),
    "tpch": ("TPC-H at scale 1, with its primary and foreign keys", 0.01),
    "indexes": ("a shop that is mostly indexes: 26 of many kinds on three tables", 0.01),
    "events": ("wide events, nested jsonb of about 1.5 kB each", 0.01),
    "tables": ("ten thousand small tables, each with a primary key, an index and 20 rows", 0.02),
    "onetable": ("one table of about 1 GB, with two indexes", 0.01),
}
