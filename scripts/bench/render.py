#!/usr/bin/env python3
"""Writes benchmarks.md and its plots from saved results: render.py RESULTS.json FOLDER."""

import json
import sys
from pathlib import Path
from statistics import median

import limits
import plot

TITLES = {
    "shop": "The shop",
    "tpch": "TPC-H",
    "indexes": "Mostly indexes",
    "events": "Wide events",
    "tables": "Ten thousand tables",
    "onetable": "One table",
}


def values(line, field):
    return [run[field] for run in line["runs"] if field in run]


def seconds(value):
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def megabytes(value):
    return f"{value / 1e6:.1f}" if value < 1e9 else f"{value / 1e6:.0f}"


def code(text):
    return "`" + text.replace("|", "\\|") + "`"


def table(head, rows):
    aligned = ["---"] + ["---:"] * (len(head) - 1)
    return ["| " + " | ".join(row) + " |" for row in [head, aligned, *rows]] + [""]


def of_kind(database, what):
    """The lines of one kind that were measured, the quickest first, and those that failed."""
    lines = [line for line in database["lines"].values() if line["what"] == what]
    measured = sorted((line for line in lines if line["runs"]), key=lambda line: median(values(line, "wall")))
    return measured, [line for line in lines if "error" in line]


def name_of(line):
    return f"**{code(line['label'])}**" if line["side"] == "pgkeep" else code(line["label"])


def memory(line):
    """pgkeep's own, and with pg_dump and what else it starts; of others that of all their processes."""
    together = max(values(line, "peak_all")) / 2**20
    return f"{max(values(line, 'peak_own')) / 2**20:.0f} ({together:.0f})" if line["side"] == "pgkeep" else f"{together:.0f}"


def common(line, cores):
    walls = values(line, "wall")
    busy = limits.share(line, cores)
    client, server = median(values(line, "client_cpu")), median(values(line, "server_cpu"))
    return [
        seconds(median(walls)),
        f"{seconds(min(walls))}–{seconds(max(walls))}",
        f"{client:.1f} + {server:.1f}",
        f"{busy * 100:.0f} %",
        memory(line),
    ]


def dumps(database, cores):
    measured, _ = of_kind(database, "dumps")
    base, gzip = limits.middle(database, "pg_dump", "wall"), limits.middle(database, "gzip", "size")
    rows = []
    for line in measured:
        size = median(values(line, "size")) if values(line, "size") else None
        wall, *rest = common(line, cores)
        rows.append(
            [
                name_of(line),
                wall,
                f"{median(values(line, 'wall')) / base:.2f}" if base else "",
                *rest,
                megabytes(size) if size else "",
                f"{size / gzip:.3f}" if size and gzip else "",
                str(len(line["runs"])),
            ]
        )
    return table(
        ["", "wall s", "to `pg_dump`", "least–most", "processor s", "busy", "memory MiB", "stored MB", "to `gzip -6`", "rounds"],
        rows,
    )


def others(database, what, cores):
    """Verifying and restoring: the same work on the same SQL, so that a speed says most."""
    rows = []
    for line in of_kind(database, what)[0]:
        wall, *rest = common(line, cores)
        rows.append(
            [
                name_of(line),
                wall,
                f"{database['sql_bytes'] / 1e6 / median(values(line, 'wall')):.0f}",
                *rest,
                str(len(line["runs"])),
            ]
        )
    return table(["", "wall s", "MB of SQL a s", "least–most", "processor s", "busy", "memory MiB", "rounds"], rows)


def drawing(title, database):
    """The plot of one database: how long its dumps take, and what they store."""
    measured, _ = of_kind(database, "dumps")
    walls, sizes = [], []
    base, gzip = limits.middle(database, "pg_dump", "wall"), limits.middle(database, "gzip", "size")
    for line in measured:
        name = line["label"]
        took = values(line, "wall")
        middle = median(took)
        ratio = f" · {middle / base:.2f}" if base else ""
        walls.append((name, line["side"], middle, min(took), max(took), f"{seconds(middle)} s{ratio}"))
        if values(line, "size"):
            size = median(values(line, "size"))
            ratio = f" · {size / gzip:.3f}" if gzip else ""
            sizes.append((name, line["side"], size, size, size, f"{megabytes(size)} MB{ratio}"))
    panels = [("Seconds, and the ratio to pg_dump; the thin line goes from the least to the most", walls, base)]
    if sizes:
        panels.append(("Megabytes stored, and the ratio to gzip -6", sizes, None))
    return plot.chart(title, panels)


def machine(results):
    memory_gib = f"{results['memory_bytes'] / 2**30:.0f} GiB" if results["memory_bytes"] else "unknown"
    buffers = next((each["settings"]["shared_buffers"] for each in results["databases"].values() if "settings" in each), None)
    default = f"its default settings (`shared_buffers = {buffers}`)" if buffers else "its default settings"
    settings = ", ".join(f"`{name} = {value}`" for name, value in results["settings"].items())
    return [
        f"- {results['processor']}, {results['cores']} cores, {memory_gib} of memory; {results['system']}, {results['kernel']}; files on {results['filesystem']}.",
        f"- PostgreSQL {results['postgresql']} on the same machine, over a unix socket, with {default} but for {settings}.",
        f"- {results['pgkeep']}; "
        + ", ".join(f"{name} {version or 'of unknown version'}" for name, version in results["peers"].items())
        + ".",
        f"- {results['date']}.",
        "",
    ]


def noise(results):
    """Whether the machine was quiet, and how far apart the least and the most of a line are."""
    # Short runs tell nothing: processor time is counted in hundredths of a second.
    foreign = [
        run["foreign_cpu"] / run["wall"] / results["cores"]
        for database in results["databases"].values()
        for line in database["lines"].values()
        for run in line["runs"]
        if run["wall"] > 1 and "foreign_cpu" in run
    ]
    out = []
    if foreign:
        out = [
            f"Meanwhile other programs, the system and the host took {median(foreign) * 100:.0f} % of the cores (the median of all runs; at most "
            f"{max(foreign) * 100:.0f} %)."
            + (" **The machine was not quiet: take these figures with care.**" if median(foreign) > 0.05 else ""),
            "",
        ]
    return out + spread(results)


def spread(results):
    spreads = [
        (max(walls) - min(walls)) / median(walls)
        for database in results["databases"].values()
        for line in database["lines"].values()
        for walls in [values(line, "wall")]
        if len(walls) > 1
    ]
    if not spreads:
        return ["Each line was measured once: nothing is known about how much it varies.", ""]
    return [
        f"Between the quickest and the slowest run of a line lie {median(spreads) * 100:.0f} % of its median (the median of all lines; at most "
        f"{max(spreads) * 100:.0f} %). A smaller difference between two lines says nothing.",
        "",
    ]


def method(results):
    return [
        "`scripts/bench.sh` loads the databases, starts a private server for each, and runs every command in turn, round after round, so that "
        "a slow minute of the machine meets all of them. One `pg_dump` and one `pgkeep backup now` come before, unmeasured: everything is "
        f"read from memory. A command that takes over {results['slow_seconds']} s is measured in fewer rounds, as the tables say. Figures are medians.",
        "",
        "- *processor s* is user and system time: of the command with all its processes, plus that of the server for it.",
        "- *busy* is how much of all cores that is. Near 100 % the processor is what limits; more cores would help those that can use them.",
        "- *memory* is the most that was resident at any time: of pgkeep alone, and in parentheses with pg_dump and what else it starts; of others all their "
        "processes together. The server's is not counted.",
        "- *stored* is all that is written: for pgkeep with its manifest, roles and contents index.",
        "- pgkeep reads back, checks and syncs to the disk what it wrote before it says that a backup exists. A pipe into a file does none of that; "
        "`pg_dump -Fc` and `-Fd` sync.",
        "- `zstd` alone packs with one thread, `zstd -T0` and `pigz` with all cores. All have their default levels.",
        "- The server does not sync (`fsync = off`), which matters to restores only.",
        "",
    ]


def document(results):
    out = ["# Benchmarks", ""]
    if results["quick"]:
        out += ["**A trial on tiny data (`--quick`): these figures mean nothing.**", ""]
    out += [
        "pgkeep beside other ways to dump, measured by `scripts/bench.sh`, which wrote this page. Run it on your own machine: it needs nothing prepared.",
        "",
        "## The limits",
        "",
        "What pgkeep set itself. Ratios are of medians, upper limits where nothing else is said. Where one is missed while the cores are "
        "busy, the processor is what bounds it.",
        "",
    ]
    out += table(["what", "database", "limit", "measured", ""], [list(row) for row in limits.rows(results)])
    out += ["## The machine", "", *machine(results), "## How it is measured", "", *method(results), *noise(results)]
    for name, database in results["databases"].items():
        out += [f"## {TITLES[name]}", "", f"`{name}`: {database['about']}."]
        if "sql_bytes" in database:
            out[-1] += f" {megabytes(database['sql_bytes'])} MB of SQL, {megabytes(database['database_bytes'])} MB in the server."
        out.append("")
        if of_kind(database, "dumps")[0]:
            out += [
                f"![{TITLES[name]}: seconds and stored bytes of each command](benchmarks-{name}.svg)",
                "",
                *dumps(database, results["cores"]),
            ]
        for what, title in (("verify", "Verifying"), ("restores", "Restoring")):
            if of_kind(database, what)[0]:
                out += [f"### {title}", "", *others(database, what, results["cores"])]
        notes = [line for line in database["lines"].values() if line["note"] and line["runs"]]
        out += [f"- {code(line['label'])}: {line['note']}." for line in notes] + ([""] if notes else [])
        failed = [line for what in ("dumps", "verify", "restores") for line in of_kind(database, what)[1]]
        out += [f"- {code(line['label'])} **failed**: {code(line['error'])}" for line in failed] + ([""] if failed else [])
        if "error" in database:
            out += [f"**Failed**: {code(database['error'])}", ""]
    if "error" in results["startup"]:
        out += [f"Starting up **failed**: {code(results['startup']['error'])}", ""]
    return "\n".join(out).rstrip("\n") + "\n"


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: render.py RESULTS.json FOLDER")
    results = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("benchmarks-*.svg"):
        old.unlink()
    for name, database in results["databases"].items():
        if of_kind(database, "dumps")[0]:
            (folder / f"benchmarks-{name}.svg").write_text(drawing(TITLES[name], database))
    (folder / "benchmarks.md").write_text(document(results))


if __name__ == "__main__":
    main()
