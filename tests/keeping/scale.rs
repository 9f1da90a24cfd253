//! Memory does not grow with the database: pg_dumps of gigabytes, of many tables and of many large objects pass through
//! pgkeep. Only pg_dump is made up, by a script that writes what pg_dump would; `scripts/scale.sh` does the same at full
//! size, and docs/scale.md tells what came of it.

use std::fmt::Write as _;
use std::path::PathBuf;

use tempfile::TempDir;

use super::support::{Pgkeep, Postgres, backup_dirs, fake_bin_dir, peak_memory, pgkeep, temp_dir};

/// docs/scale.md: the most memory that pgkeep holds, of a database of any size, on two processors.
const LIMIT: u64 = 96 << 20;

const HEAD: &str = "--\n-- PostgreSQL database dump\n--\n\n\\restrict scale\n\nSET client_encoding = 'UTF8';\n\
                    SET standard_conforming_strings = on;\nSELECT pg_catalog.set_config('search_path', '', false);\n\n";
const TAIL: &str = "--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict scale\n\n";

/// A database whose pg_dump is made up.
struct Made {
    server: &'static Postgres,
    db: String,
    work: TempDir,
    programs: TempDir,
}

impl Made {
    /// pg_dump writes `before`, then `repeated` so many times, then `after`.
    fn new(before: &str, repeated: &str, times: u32, after: &str) -> Self {
        let server = Postgres::shared(17);
        let work = temp_dir();
        let put = |name: &str, text: &str| -> PathBuf {
            let path = work.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let before = put("before.sql", &format!("{HEAD}{before}"));
        let repeated = put("repeated.sql", repeated);
        let after = put("after.sql", &format!("{after}{TAIL}"));
        let script = format!(
            "case \" $* \" in *' --version '*) exec \"$REAL\" --version ;; esac\n\
             cat '{}' || exit 1\n\
             i=0; while [ $i -lt {times} ]; do cat '{}' || exit 1; i=$((i + 1)); done\n\
             exec cat '{}'",
            before.display(),
            repeated.display(),
            after.display()
        );
        let programs = fake_bin_dir(server.bin_dir(), [("pg_dump", script.as_str())]);
        Self { server, db: server.create_db("scale"), work, programs }
    }

    fn backups(&self) -> PathBuf {
        self.work.path().join("backups")
    }

    /// On two processors: each more has buffers of its own.
    fn pgkeep(&self, args: &[&str]) -> Pgkeep {
        pgkeep().bin_dir(self.programs.path()).args(args).through(["taskset", "--cpu-list", &two_processors()])
    }

    /// Backs up; gives what pgkeep says of it and the most memory that it held.
    fn back_up(&self) -> (serde_json::Value, u64) {
        let command = self.pgkeep(&["backup", "now", "--json", "--compression", "zstd:1", "--to"]).arg(self.backups());
        let mut running = command.args(["--database-url", &self.server.url(&self.db)]).spawn();
        let peak = peak_memory(&mut running);
        let outcome = running.wait();
        assert_eq!(outcome.code, Some(0), "{outcome}");
        let answer: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        (answer["backups"][0].clone(), peak)
    }

    /// Runs `pgkeep backup ...` on the backup; gives the most memory that it held.
    fn look(&self, args: &[&str]) -> u64 {
        let mut running = self.pgkeep(&["backup"]).args(args).arg("--at").arg(self.backups()).spawn();
        let peak = peak_memory(&mut running);
        let outcome = running.wait();
        assert_eq!(outcome.code, Some(0), "{outcome}");
        peak
    }

    /// The size of the index, in bytes.
    fn index_bytes(&self) -> u64 {
        let dirs = backup_dirs(self.backups());
        assert_eq!(dirs.len(), 1);
        std::fs::metadata(dirs[0].join("contents.json.gz")).unwrap().len()
    }
}

/// The first two processors that this process may use, as taskset takes them: proc(5), Cpus_allowed_list.
fn two_processors() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let ranges = list.split(',').map(|range| range.split_once('-').unwrap_or((range, range)));
    let all = ranges.flat_map(|(first, last)| first.parse::<u32>().unwrap()..=last.parse().unwrap());
    all.take(2).map(|cpu| cpu.to_string()).collect::<Vec<_>>().join(",")
}

fn header(name: &str, kind: &str) -> String {
    let data = if kind == "TABLE DATA" { "Data for " } else { "" };
    format!("--\n-- {data}Name: {name}; Type: {kind}; Schema: public; Owner: postgres\n--\n\n")
}

#[test]
fn four_times_the_data_takes_no_more_memory() {
    let before = format!(
        "{}CREATE TABLE public.t (\n    id bigint,\n    note text\n);\n\n\n{}COPY public.t (id, note) FROM stdin;\n",
        header("t", "TABLE"),
        header("t", "TABLE DATA")
    );
    let mut rows = String::new();
    for id in 0u64.. {
        if rows.len() >= 64 << 20 {
            break;
        }
        writeln!(rows, "{id}\t{:016x}{}", id.wrapping_mul(0x9e37_79b9_7f4a_7c15), "left with a neighbour, ".repeat(90))
            .unwrap();
    }
    let per_block = rows.lines().count() as u64;
    let back_up = |times: u32| {
        let made = Made::new(&before, &rows, times, "\\.\n\n\n");
        let (outcome, peak) = made.back_up();
        assert_eq!(outcome["rows"], per_block * u64::from(times), "{outcome:#}");
        let sql = outcome["sql_bytes"].as_u64().unwrap();
        assert!(sql >= u64::from(times) << 26, "{outcome:#}");
        assert!(peak < LIMIT, "{} MiB of {} MiB of SQL", peak >> 20, sql >> 20);
        peak
    };
    let (one, four) = (back_up(16), back_up(64));
    assert!(four < one + (12 << 20), "1 GiB takes {} MiB, and 4 GiB {} MiB", one >> 20, four >> 20);
}

#[test]
fn many_tables_take_little_memory() {
    const TABLES: usize = 25_000;
    let (mut definitions, mut data, mut keys) = (String::new(), String::new(), String::new());
    for n in 0..TABLES {
        let table = format!("measurements_of_station_{n:06}");
        write!(definitions, "{}CREATE TABLE public.{table} (\n    id bigint\n);\n\n\n", header(&table, "TABLE"))
            .unwrap();
        write!(
            data,
            "{}COPY public.{table} (id, sensor_{n}) FROM stdin;\n{n}\t1\n\\.\n\n\n",
            header(&table, "TABLE DATA")
        )
        .unwrap();
        let name = format!("{table} {table}_pkey");
        write!(keys, "{}ALTER TABLE ONLY public.{table}\n    ADD PRIMARY KEY (id);\n\n\n", header(&name, "CONSTRAINT"))
            .unwrap();
    }
    let made = Made::new(&definitions, "", 0, &(data + &keys));
    let (outcome, peak) = made.back_up();
    assert_eq!((&outcome["tables"], &outcome["entries"]), (&TABLES.into(), &(3 * TABLES).into()), "{outcome:#}");
    let peaks = [
        ("backup", peak),
        ("verify", made.look(&["verify", "latest"])),
        ("list", made.look(&["list"])),
        ("show", made.look(&["show", "latest"])),
    ];
    for (what, peak) in peaks {
        assert!(peak < LIMIT, "{what}: {} MiB of {TABLES} tables", peak >> 20);
    }
    // docs/scale.md: some 65 bytes an entry.
    assert!(made.index_bytes() < 3 * TABLES as u64 * 100, "{} bytes", made.index_bytes());
}

#[test]
fn many_large_objects_take_little_memory() {
    const OBJECTS: u32 = 100_000;
    let metadata = header(&format!("200000..{}", 200_000 + OBJECTS - 1), "BLOB METADATA");
    let (mut made, mut written) = (String::new(), String::new());
    for oid in 200_000..200_000 + OBJECTS {
        writeln!(made, "SELECT pg_catalog.lo_create('{oid}');\nALTER LARGE OBJECT {oid} OWNER TO postgres;").unwrap();
        writeln!(written, "SELECT pg_catalog.lo_open('{oid}', 131072);\nSELECT pg_catalog.lowrite(0, '\\x{oid:08x}');")
            .unwrap();
        written.push_str("SELECT pg_catalog.lo_close(0);\n\n");
    }
    let blobs = header(&format!("200000..{}", 200_000 + OBJECTS - 1), "BLOBS").replace("Name", "Data for Name");
    let made = Made::new(&(metadata + &made + "\n"), "", 0, &format!("{blobs}BEGIN;\n\n{written}COMMIT;\n\n"));
    let (outcome, peak) = made.back_up();
    assert_eq!(outcome["large_objects"], OBJECTS, "{outcome:#}");
    let verify = made.look(&["verify", "latest"]);
    assert!(peak.max(verify) < LIMIT, "{} MiB, and to verify {} MiB", peak >> 20, verify >> 20);
}
