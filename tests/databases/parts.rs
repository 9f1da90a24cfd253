//! Parts of a backup: one table or some, definitions or rows alone, into a new database or one that is in use.

use crate::support::{Postgres, Scene, Stored, each_major, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A shop with everything that can belong to a table.
const SHOP: &str = r#"
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'touched'; RETURN NEW; END $$;
    CREATE SCHEMA "Odd Sales";
    CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL UNIQUE, note text);
    INSERT INTO customers (name) SELECT 'c' || i FROM generate_series(1, 300) i;
    CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY (START WITH 7) PRIMARY KEY, customer int REFERENCES customers,
        note text DEFAULT 'it''s public.orders', amount numeric CHECK (amount > 0));
    INSERT INTO orders (customer, amount) SELECT 1 + i % 300, i FROM generate_series(1, 2000) i;
    CREATE INDEX orders_note ON orders (lower(note)) WHERE amount > 10;
    CREATE STATISTICS orders_stats (ndistinct) ON customer, amount FROM orders;
    CREATE TRIGGER orders_touch BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touch();
    COMMENT ON TRIGGER orders_touch ON orders IS 'said of the trigger';
    COMMENT ON COLUMN orders.note IS 'public.orders.note';
    COMMENT ON INDEX orders_note IS 'an index';
    ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
    CREATE POLICY mine ON orders USING (amount < 100);
    GRANT SELECT (id, note) ON orders TO PUBLIC;
    CREATE SEQUENCE shared START WITH 41;
    CREATE TABLE "Odd Sales"."Or""d.er*" (id int DEFAULT nextval('shared'), "say 'x'" text);
    CREATE SEQUENCE "Odd Sales"."S'eq" OWNED BY "Odd Sales"."Or""d.er*".id;
    ALTER TABLE "Odd Sales"."Or""d.er*" ADD COLUMN n bigint DEFAULT nextval('"Odd Sales"."S''eq"');
    INSERT INTO "Odd Sales"."Or""d.er*" ("say 'x'") VALUES (E'a\tb\\.'), (NULL), ('');
    CREATE TABLE "Odd Sales".orders (id int, feeling mood);
    INSERT INTO "Odd Sales".orders VALUES (1, 'happy');
    CREATE TABLE days (day date NOT NULL, n int, PRIMARY KEY (day, n)) PARTITION BY RANGE (day);
    CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY HASH (n);
    CREATE TABLE days_2a PARTITION OF days_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE days_2b PARTITION OF days_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    INSERT INTO days SELECT '2026-01-01'::date + i, i FROM generate_series(0, 50) i;
    CREATE INDEX ON days (n);
    CREATE TABLE chicken (id int PRIMARY KEY, egg int);
    CREATE TABLE egg (id int PRIMARY KEY, chicken int REFERENCES chicken);
    INSERT INTO chicken SELECT i, i FROM generate_series(1, 50) i;
    INSERT INTO egg SELECT i, i FROM generate_series(1, 50) i;
    ALTER TABLE chicken ADD CONSTRAINT laid FOREIGN KEY (egg) REFERENCES egg DEFERRABLE;
    CREATE MATERIALIZED VIEW sums AS SELECT customer, sum(amount) AS sum FROM orders GROUP BY 1;
"#;

/// The shop in a database of its own, and its backup.
fn shop(server: &Postgres) -> (String, Stored) {
    let db = server.create_db("parts");
    server.psql(&db, SHOP);
    let stored = Stored::of(server, &db);
    (db, stored)
}

/// `restore latest --into TARGET ARGS`, which must prove what it restored.
#[track_caller]
fn restores<const N: usize>(server: &Postgres, stored: &Stored, into: &str, args: [&str; N]) -> Value {
    let command = stored.pgkeep(server, ["restore", "latest", "--into", into]).args(args);
    let (report, code) = command.json_with_code();
    assert_eq!((code, &report["proof"], &report["differences"]), (0, &json!("passed"), &json!([])), "{report:#}");
    report
}

/// A name for a database that is not there yet.
fn new_name(db: &str, what: &str) -> String {
    format!("{db}_{what}")
}

/// All rows of a query, as text.
fn rows(server: &Postgres, db: &str, query: &str) -> String {
    server.psql(db, &format!("SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM ({query}) t"))
}

#[track_caller]
fn same_rows(server: &Postgres, from: &str, into: &str, tables: &[&str]) {
    for table in tables {
        let query = format!("SELECT * FROM {table}");
        assert_eq!(rows(server, into, &query), rows(server, from, &query), "{table}");
    }
}

/// What pg_dump says of a table, without its rows.
fn definition(server: &Postgres, db: &str, table: &str) -> BTreeSet<String> {
    let dump = server.pg_dump(db, ["--schema-only", "--no-comments", &format!("--table={table}")]);
    let text = String::from_utf8(dump).unwrap();
    let kept = text.lines().filter(|line| !line.starts_with("--") && !line.starts_with('\\') && !line.is_empty());
    kept.map(str::to_owned).collect()
}

fn words(report: &Value, field: &str) -> String {
    report["parts"][field].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

each_major!(one_table_comes_back_with_all_that_is_its_own, |major: u32| {
    let server = Postgres::shared(major);
    let (db, stored) = shop(server);
    let into = new_name(&db, "new");
    let report = restores(server, &stored, &into, ["--table", "public.orders"]);
    assert_eq!(report["parts"]["tables"], json!(["public.orders"]), "{report:#}");
    assert_eq!((&report["tables"], &report["rows"]), (&json!(1), &json!(2000)));
    same_rows(server, &db, &into, &["orders"]);
    // What needs a table or a function that is not there is left out and said; so is what was said of it.
    let left_out = words(&report, "left_out");
    assert!(left_out.contains("orders_customer_fkey: public.customers is not there"), "{left_out}");
    assert!(left_out.contains("orders_touch: public.touch is not there"), "{left_out}");
    let found = definition(server, &into, "public.orders");
    let wanted = definition(server, &db, "public.orders");
    let missing: Vec<&String> = wanted.difference(&found).collect();
    assert!(
        missing.iter().all(|line| line.contains("customer") || line.contains("touch") || line.contains("ONLY")),
        "{missing:?}"
    );
    assert_eq!(server.psql(&into, "SELECT obj_description('orders_note'::regclass)"), "an index");
    assert_eq!(server.psql(&into, "SELECT count(*) FROM pg_statistic_ext"), "1");
    server.psql(&into, "INSERT INTO orders (amount) VALUES (1)");
    assert_eq!(server.psql(&into, "SELECT max(id) FROM orders"), "2007");
});

#[test]
fn patterns_choose_and_odd_names_are_exact() {
    let server = Postgres::shared(17);
    let (db, stored) = shop(server);
    let restore =
        |pattern: &str, into: &str| stored.pgkeep(server, ["restore", "latest", "--into", into, "--table", pattern]);
    restore("orders", "nowhere").fails(2).explains(&["\"Odd Sales\".orders", "public.orders"], "schema.name");
    restore("ORDER", "nowhere").fails(1).explains(&["no table ORDER"], "lower case");
    restore("Odd Sales.orders", "nowhere").fails(1).explains(&["no table"], "\"Odd Sales\".orders");
    let nameless = ["restore", "latest", "--into", "nowhere", "--table", "customers", "--into-schema", ""];
    stored.pgkeep(server, nameless).fails(2).explains(&["--into-schema is empty"], "name a schema");
    restore("a.b.c", "nowhere").fails(2).explains(&["more than one dot"], "as in");
    assert_eq!(server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'nowhere'"), "0");

    let into = new_name(&db, "odd");
    let report = restores(server, &stored, &into, ["--table", r#""Odd Sales"."Or""d.er*""#]);
    same_rows(server, &db, &into, &[r#""Odd Sales"."Or""d.er*""#]);
    assert_eq!(report["parts"]["tables"], json!([r#""Odd Sales"."Or""d.er*""#]));
    // Both sequences go on where they were: the one that it owns, and the one that its default uses.
    let next = r#"INSERT INTO "Odd Sales"."Or""d.er*" ("say 'x'") VALUES ('new') RETURNING id || ',' || n"#;
    assert_eq!(server.psql(&into, next), server.psql(&db, next));

    let into = new_name(&db, "many");
    let report = restores(server, &stored, &into, ["--table", "*custom*", "--table", "public.order?"]);
    assert_eq!(report["parts"]["tables"], json!(["public.customers", "public.orders"]));
    same_rows(server, &db, &into, &["customers", "orders"]);
    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f'";
    assert_eq!(server.psql(&into, keys), "1");
}

each_major!(partitions_come_with_their_table_and_go_without_it, |major: u32| {
    let server = Postgres::shared(major);
    let (db, stored) = shop(server);
    let into = new_name(&db, "days");
    let report = restores(server, &stored, &into, ["--table", "days"]);
    assert_eq!(report["tables"], json!(5), "{report:#}");
    same_rows(server, &db, &into, &["days", "days_1", "days_2a"]);
    assert_eq!(definition(server, &into, "public.days*"), definition(server, &db, "public.days*"));

    let into = new_name(&db, "day");
    let report = restores(server, &stored, &into, ["--table", "days_1"]);
    assert!(words(&report, "left_out").contains("public.days_1 is a partition of public.days"), "{report:#}");
    same_rows(server, &db, &into, &["days_1"]);
});

#[test]
fn a_table_comes_back_into_the_database_that_lost_it_and_never_over_one_that_is_there() {
    let server = Postgres::shared(17);
    let (db, stored) = shop(server);
    let restore = |args: &[&str]| stored.pgkeep(server, ["restore", "latest", "--into", &db]).args(args);
    let before = server.pg_dump(&db, []);
    restore(&["--table", "public.orders"]).fails(1).explains(&["public.orders", "there already in"], "--into-schema");
    crate::support::assert_same_dump(&before, &server.pg_dump(&db, []));

    let wanted = rows(server, &db, "SELECT * FROM customers");
    server.psql(&db, "DROP TABLE customers CASCADE");
    let report = restores(server, &stored, &db, ["--table", "customers"]);
    assert_eq!(rows(server, &db, "SELECT * FROM customers"), wanted);
    assert!(words(&report, "left_out").contains("orders_customer_fkey of public.orders"), "{report:#}");
    server.psql(&db, "ALTER TABLE orders ADD FOREIGN KEY (customer) REFERENCES customers");
    server.psql(&db, "DROP TABLE orders CASCADE");
    let report = restores(server, &stored, &db, ["--table", "public.orders"]);
    assert_eq!(words(&report, "left_out"), "", "{report:#}");
    server.psql(&db, "INSERT INTO orders (customer, amount) VALUES (1, 1)");
    assert_eq!(server.psql(&db, "SELECT note FROM orders WHERE id > 2006"), "touched");
}

#[test]
fn a_table_goes_into_another_schema_word_for_word() {
    let server = Postgres::shared(17);
    let (db, stored) = shop(server);
    let into = "Back \"up\"";
    let report =
        restores(server, &stored, &db, ["--table", "public.orders", "--table", "customers", "--into-schema", into]);
    assert_eq!(report["parts"]["tables"][0], json!(r#""Back ""up""".customers"#));
    for table in ["orders", "customers"] {
        let moved = format!(r#"SELECT * FROM "Back ""up"""."{table}""#);
        assert_eq!(rows(server, &db, &moved), rows(server, &db, &format!("SELECT * FROM {table}")));
    }
    let lines = |schema: &str, table: &str| -> BTreeSet<String> {
        let quoted = r#""Back ""up""""#;
        let all = definition(server, &db, &format!("{schema}.{table}"));
        all.into_iter().map(|line| line.replace(quoted, "public").replace("EXECUTE FUNCTION public.", "")).collect()
    };
    for table in ["orders", "customers"] {
        let plain: BTreeSet<String> =
            lines("public", table).into_iter().map(|line| line.replace("EXECUTE FUNCTION public.", "")).collect();
        assert_eq!(lines(r#""Back ""up""""#, table), plain);
    }
    // Its own sequence and its own foreign key, none of public's.
    let next = r#"INSERT INTO "Back ""up""".customers (name) VALUES ('new') RETURNING id"#;
    assert_eq!(server.psql(&db, next), "301");
    assert_eq!(server.psql(&db, "SELECT last_value FROM customers_id_seq"), "300");
    let refers = r#"SELECT confrelid::regclass FROM pg_constraint WHERE contype = 'f' AND conrelid = '"Back ""up""".orders'::regclass"#;
    assert_eq!(server.psql(&db, refers), r#""Back ""up""".customers"#);
    let odd = r#""Odd Sales"."Or""d.er*""#;
    restores(server, &stored, &db, ["--table", odd, "--into-schema", "elsewhere"]);
    let uses = r#"SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'elsewhere."Or""d.er*"'::regclass ORDER BY adnum"#;
    let uses = server.psql(&db, uses);
    assert!(uses.contains("elsewhere.shared") && uses.contains(r#"elsewhere."S''eq""#), "{uses}");
}

#[test]
fn what_a_table_cannot_do_without_is_named_before_anything_happens() {
    let server = Postgres::shared(17);
    let (db, stored) = shop(server);
    let into = new_name(&db, "typeless");
    let restore = || stored.pgkeep(server, ["restore", "latest", "--into", &into, "--table", r#""Odd Sales".orders"#]);
    restore().fails(1).explains(&["public.mood"], "--schema-only");
    assert_eq!(server.psql("postgres", &format!("SELECT count(*) FROM pg_database WHERE datname = '{into}'")), "0");
    // As the hint says.
    let report = restores(server, &stored, &into, ["--schema-only"]);
    assert_eq!(report["rows"], json!(0));
    let report = restores(server, &stored, &into, ["--table", r#""Odd Sales".orders"#, "--data-only"]);
    assert_eq!(report["rows"], json!(1));
    same_rows(server, &db, &into, &[r#""Odd Sales".orders"#]);
}

each_major!(definitions_first_and_rows_later_make_the_whole, |major: u32| {
    let server = Postgres::shared(major);
    let (db, stored) = shop(server);
    for jobs in ["1", "2"] {
        let into = new_name(&db, &format!("later{jobs}"));
        restores(server, &stored, &into, ["--schema-only", "--jobs", jobs]);
        assert_eq!(server.psql(&into, "SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM days)"), "0");
        // Circular references, one of them deferrable, and a trigger that would change every row.
        restores(server, &stored, &into, ["--data-only"]);
        same_rows(server, &db, &into, &["customers", "orders", "chicken", "egg", "days", r#""Odd Sales"."Or""d.er*""#]);
        assert_eq!(server.psql(&into, "SELECT tgenabled FROM pg_trigger WHERE tgname = 'orders_touch'"), "O");
        assert_eq!(server.psql(&into, "SELECT nextval('orders_id_seq')"), "2007");
        let again = stored.pgkeep(server, ["restore", "latest", "--into", &into, "--data-only"]).fails(1);
        again.explains(&["not empty"], "--into-schema");
    }
});

#[test]
fn rows_alone_go_only_where_they_fit() {
    let server = Postgres::shared(17);
    let (db, stored) = shop(server);
    let into = new_name(&db, "fit");
    let restore = || {
        stored.pgkeep(
            server,
            ["restore", "latest", "--into", &into, "--data-only", "--table", "egg", "--table", "chicken"],
        )
    };
    restore().fails(1).explains(&["there is no database"], "--schema-only");
    server.psql("postgres", &format!("CREATE DATABASE \"{into}\""));
    restore().fails(1).explains(&["no table public.chicken, public.egg"], "--schema-only");
    server.psql(&into, "CREATE TABLE chicken (id int PRIMARY KEY); CREATE TABLE egg (id int PRIMARY KEY, chicken int REFERENCES chicken)");
    restore().fails(1).explains(&["public.chicken", "has no column egg"], "--into-schema");
    server.psql(&into, "ALTER TABLE chicken ADD egg int REFERENCES egg");
    restore().fails(1).explains(&["circle", "chicken_egg_fkey of public.chicken"], "DEFERRABLE");
    server.psql(&into, "ALTER TABLE chicken ALTER CONSTRAINT chicken_egg_fkey DEFERRABLE");
    assert_eq!(
        restores(server, &stored, &into, ["--data-only", "--table", "egg", "--table", "chicken"])["rows"],
        json!(100)
    );
    same_rows(server, &db, &into, &["egg", "chicken"]);
}

each_major!(tables_may_come_back_without_their_rows, |major: u32| {
    let server = Postgres::shared(major);
    let (db, stored) = shop(server);
    for jobs in ["1", "2"] {
        let into = new_name(&db, &format!("less{jobs}"));
        let report = restores(
            server,
            &stored,
            &into,
            ["--exclude-table-data", "custom*", "--exclude-table-data", "days", "--jobs", jobs],
        );
        assert!(words(&report, "left_out").contains("public.customers comes back without its rows"), "{report:#}");
        assert_eq!(server.psql(&into, "SELECT (SELECT count(*) FROM customers) + (SELECT count(*) FROM days)"), "0");
        same_rows(server, &db, &into, &["orders", "egg", "sums"]);
    }
    let into = new_name(&db, "few");
    let args = ["--table", "customers", "--table", "public.orders", "--exclude-table-data", "customers"];
    let report = restores(server, &stored, &into, args);
    assert_eq!(report["rows"], json!(2000), "{report:#}");
    same_rows(server, &db, &into, &["orders"]);
    stored.pgkeep(server, ["restore", "latest", "--into", "nowhere", "--exclude-table-data", "nothing"]).fails(1);
});

#[test]
fn a_parallel_backup_gives_its_tables_too() {
    let server = Postgres::shared(17);
    let db = server.create_db("parts_sliced");
    server.psql(&db, SHOP);
    server.psql(
        &db,
        "CREATE TABLE big AS SELECT i AS id, repeat(md5(i::text), 20) AS filler FROM generate_series(1, 60000) i",
    );
    let stored = Stored::with(server, &db, ["--jobs", "3"]);
    let slices = stored.entries().iter().filter(|entry| entry["table"]["table"] == "big").count();
    assert!(slices > 1, "{slices}");
    let into = new_name(&db, "big");
    let report = restores(server, &stored, &into, ["--table", "big", "--table", "customers"]);
    assert_eq!(report["rows"], json!(60_300));
    same_rows(server, &db, &into, &["big", "customers"]);
}

/// Whole or gone, in a database that is in use.
#[test]
fn killed_in_the_middle_nothing_of_it_is_left() {
    let server = Postgres::shared(17);
    let scene = Scene::with_megabytes(server, "part_killed", 40);
    let target = server.create_db("part_target");
    server.psql(&target, "CREATE TABLE other AS SELECT 1 AS a");
    let before = server.pg_dump(&target, []);
    let url = server.url("postgres");
    let restore = || scene.at(["restore", "latest", "--into", &target, "--table", "orders", "--database-url", &url]);
    let copying = format!("SELECT count(*) FROM pg_stat_progress_copy WHERE datname = '{target}'");
    // psql is killed, the server's session is ended, pgkeep itself is killed.
    for how in ["psql", "server", "pgkeep"] {
        let mut running = restore().spawn();
        wait_until("rows are loaded", || {
            assert!(!running.has_ended(), "{}", running.stderr());
            server.psql("postgres", &copying) == "1"
        });
        match how {
            "psql" => {
                let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).unwrap();
                let all_tasks = std::fs::read_dir(format!("/proc/{}/task", running.pid())).unwrap();
                let mut pids: Vec<i32> = children.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
                for task in all_tasks.flatten() {
                    let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
                    pids.extend(text.split_whitespace().map(|pid| pid.parse::<i32>().unwrap()));
                }
                assert!(!pids.is_empty());
                for pid in pids {
                    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
                }
            }
            "server" => {
                let end = format!(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_progress_copy WHERE datname = '{target}'"
                );
                server.psql("postgres", &end);
            }
            _ => running.kill(nix::sys::signal::Signal::SIGKILL),
        }
        let outcome = running.wait();
        assert_ne!(outcome.code, Some(0), "{how}: {outcome}");
        if how == "server" {
            assert!(outcome.stderr.contains("nothing of it was kept"), "{outcome}");
        }
        let sessions = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{target}' AND backend_type = 'client backend'"
        );
        wait_until("the server has noticed", || server.psql("postgres", &sessions) == "0");
        crate::support::assert_same_dump(&before, &server.pg_dump(&target, []));
    }
    restore().ok();
    same_rows(server, &scene.db, &target, &["orders"]);
}

/// A small generator: the same tables for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

/// Random tables, some of them odd, and the SQL that makes them. Each may refer to those before it.
fn random_tables(chance: &mut Chance) -> (Vec<String>, String) {
    let mut sql = r#"CREATE SCHEMA "S 2"; CREATE SEQUENCE "S 2".shared;"#.to_owned();
    let mut tables: Vec<String> = Vec::new();
    for number in 0..4 + chance.below(5) {
        let schema = if chance.one_in(2) { "public" } else { r#""S 2""# };
        let name = match chance.below(4) {
            0 => format!(r#""T{number} ""x"" '*.""#),
            1 => format!(r#""é{number}""#),
            _ => format!("t{number}"),
        };
        let table = format!("{schema}.{name}");
        let id = match chance.below(4) {
            0 => "serial",
            1 => "bigint GENERATED BY DEFAULT AS IDENTITY",
            2 => r#"int DEFAULT nextval('"S 2".shared')"#,
            _ => "int DEFAULT 0",
        };
        let said = r#""select" text DEFAULT 'public.t1; ''x'''"#;
        let mut columns = format!("id {id}, {said}, n numeric(10,2) CHECK (n >= 0)");
        if chance.one_in(2) {
            columns.push_str(", twice numeric GENERATED ALWAYS AS (n * 2) STORED");
        }
        match tables.get(chance.below(8) as usize) {
            Some(other) => columns.push_str(&format!(", other int REFERENCES {other}")),
            None => columns.push_str(", other int"),
        }
        let parts = if chance.one_in(4) { 3 } else { 0 };
        let by = if parts > 0 { " PARTITION BY HASH (id)" } else { "" };
        sql.push_str(&format!("CREATE TABLE {table} ({columns}, PRIMARY KEY (id)){by};\n"));
        for part in 0..parts {
            let values = format!("FOR VALUES WITH (MODULUS 3, REMAINDER {part})");
            sql.push_str(&format!("CREATE TABLE {schema}.part_{number}_{part} PARTITION OF {table} {values};\n"));
        }
        let rows = 1 + chance.below(200);
        let text = r"repeat(E'\t\\.' || i, i % 4)";
        sql.push_str(&format!(
            "INSERT INTO {table} (id, \"select\", n, other) SELECT i, {text}, i, NULLIF(i % 2, 0) FROM generate_series(1, {rows}) i;\n"
        ));
        for _ in 0..chance.below(3) {
            sql.push_str(&format!("CREATE INDEX ON {table} (n, lower(\"select\"));\n"));
        }
        if chance.one_in(2) {
            sql.push_str(&format!(
                "COMMENT ON TABLE {table} IS 'it''s public.t1'; GRANT SELECT ON {table} TO PUBLIC;\n"
            ));
        }
        tables.push(table);
    }
    (tables, sql)
}

each_major!(random_tables_come_back_as_they_were, |major: u32| {
    let server = Postgres::shared(major);
    for round in 0..4 {
        let seed = u64::from(major) * 100 + round;
        let mut chance = Chance(seed);
        let (tables, sql) = random_tables(&mut chance);
        let db = server.create_db("random_parts");
        server.psql(&db, &sql);
        let stored = Stored::of(server, &db);
        for beside in [false, true] {
            let mut chosen: Vec<&String> = tables.iter().filter(|_| chance.one_in(2)).collect();
            if chosen.is_empty() {
                chosen.extend(tables.first());
            }
            let mut args: Vec<&str> = chosen.iter().flat_map(|table| ["--table", table.as_str()]).collect();
            // Beside the tables themselves everything that they refer to is there.
            let into = if beside { db.clone() } else { new_name(&db, "part") };
            if beside {
                args.extend(["--into-schema", "Beside \"é\""]);
            }
            let (report, code) =
                stored.pgkeep(server, ["restore", "latest", "--into", &into]).args(&args).json_with_code();
            assert_eq!((code, &report["proof"]), (0, &json!("passed")), "seed {seed}, {args:?}: {sql}\n{report:#}");
            for table in chosen {
                let name = &table[table.find('.').unwrap() + 1..];
                let there = if beside { format!(r#""Beside ""é""".{name}"#) } else { table.clone() };
                let all = |table: &str| format!("SELECT * FROM {table}");
                let (found, wanted) = (rows(server, &into, &all(&there)), rows(server, &db, &all(table)));
                assert_eq!(found, wanted, "seed {seed}, {table}: {sql}");
            }
        }
    }
});
