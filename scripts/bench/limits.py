"""The limits that pgkeep set itself, and what was measured beside them."""

from statistics import median

# What, in which databases at most how much (for verify at least), and how it is found out.
RATIOS = [
    ("`backup now`, gzip at the default level, to `pg_dump`", {"shop": 1.06, "tpch": 1.25}, "wall", "pgkeep-gzip", "pg_dump"),
    ("its archive, to `gzip -6`", {"shop": 0.92, "tpch": 1.01}, "size", "pgkeep-gzip", "gzip"),
    ("`backup now`, zstd at its default level, to `pg_dump`", {"shop": 1.06, "tpch": 1.06}, "wall", "pgkeep-zstd", "pg_dump"),
    ("its archive, to `gzip -6`", {"shop": 0.76, "tpch": 1.07}, "size", "pgkeep-zstd", "gzip"),
    ("`backup now --jobs 2`, gzip, to `pg_dump`", {"shop": 0.85, "tpch": 1.00}, "wall", "pgkeep-gzip-j2", "pg_dump"),
    ("`backup now`, gzip, to `pg_dump \\| pigz`", {"shop": 0.60, "tpch": 0.70}, "wall", "pgkeep-gzip", "pigz"),
    ("ten thousand small tables, gzip, to `pg_dump \\| gzip`", {"tables": 1.00}, "wall", "pgkeep-gzip", "gzip"),
]
VERIFY = {"shop": 800, "tpch": 700}  # MB of SQL a second
PEAK_MIB = 96
STARTUP = {"version": ("`pgkeep --version`", 15), "list": ("`backup list` of 100 backups", 60)}  # ms


def middle(database, key, field):
    """The median of a line's runs; None when it was not measured."""
    line = database["lines"].get(key)
    values = [run[field] for run in line["runs"] if field in run] if line else []
    return median(values) if values else None


def share(line, cores):
    """How much of all cores a measured line and the server for it used: near 1 the processor is what bounds it."""
    return median((run["client_cpu"] + run["server_cpu"]) / run["wall"] / cores for run in line["runs"])


def busy(database, key, cores):
    """The same of a line that may not have been measured."""
    line = database["lines"].get(key)
    return share(line, cores) if line and line["runs"] else None


def verdict(measured, limit, at_least=False):
    missed = (limit - measured if at_least else measured - limit) / limit
    return "met" if missed <= 0 else f"**missed by {missed * 100:.{0 if missed >= 0.0095 else 1}f} %**"


def rows(results):
    """Rows of the table: what, where, limit, measured, verdict."""
    found, databases = [], results["databases"]

    def add(what, where, limit, measured, show, at_least=False, show_limit=None, used=None):
        shown, said = ("", "not measured") if measured is None else (show(measured), verdict(measured, limit, at_least))
        if used is not None and "missed" in said:
            said += f"; cores {used * 100:.0f} % busy"
        found.append((what, where, (show_limit or show)(limit), shown, said))

    for what, limits, field, key, other in RATIOS:
        for name, limit in limits.items():
            database = databases.get(name, {"lines": {}})
            one, two = middle(database, key, field), middle(database, other, field)
            add(
                what,
                name,
                limit,
                one / two if one and two else None,
                "{:.2f}".format if field == "wall" else "{:.3f}".format,
                show_limit="{:.2f}".format,
                used=busy(database, key, results["cores"]) if field == "wall" else None,
            )
    for name, limit in VERIFY.items():
        database = databases.get(name, {"lines": {}})
        wall = middle(database, "verify-gzip", "wall")
        add(
            "`backup verify`, gzip, SQL a second: at least",
            name,
            limit,
            database["sql_bytes"] / 1e6 / wall if wall else None,
            "{:.0f} MB".format,
            at_least=True,
            used=busy(database, "verify-gzip", results["cores"]),
        )
    for name, database in databases.items():
        peaks = [run["peak_own"] for line in database["lines"].values() if line["side"] == "pgkeep" for run in line["runs"]]
        add("most memory of pgkeep in any line", name, PEAK_MIB, max(peaks) / 2**20 if peaks else None, "{:.0f} MiB".format)
    startup = results["startup"]
    for key, (what, limit) in STARTUP.items():
        if key == "list" and startup.get("backups", 100) != 100:
            what = f"`backup list` of {startup['backups']} backups"
        measured = median(run["wall"] for run in startup[key]["runs"]) * 1000 if key in startup else None
        add(what, "", limit, measured, "{:.1f} ms".format, show_limit="{:.0f} ms".format)
    return found
