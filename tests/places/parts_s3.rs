//! One table out of a large archive in S3 costs its own bytes, and not those of the archive.

use crate::services::{Proxy, Seaweed};
use crate::support::{Configured, Postgres};
use serde_json::{Value, json};
use std::io::Read;

/// What may be read besides the table and the index, in bytes: the manifest, lists, definitions, and the ends of the members
/// that also hold other rows.
const BESIDES: u64 = 8 << 20;

#[test]
fn one_table_costs_its_own_bytes() {
    let (server, store) = (Postgres::shared(17), Seaweed::shared());
    let db = server.create_db("large_archive");
    // Rows that compress to about half, so that the archive is larger than anything that is allowed to be read.
    let table = |name: &str, rows: u32| {
        let row = "(SELECT string_agg(md5(i::text || j || random()), '') FROM generate_series(1, 32) j)";
        let rows = format!("SELECT i AS id, {row} AS note FROM generate_series(1, {rows}) i");
        server.psql(&db, &format!("CREATE TABLE {name} AS {rows}"));
    };
    table("a_large", 50_000);
    table("m_wanted", 20_000);
    table("z_large", 50_000);
    server.psql(&db, "ALTER TABLE m_wanted ADD PRIMARY KEY (id)");
    let bucket = store.bucket();
    let proxy = Proxy::to(&store.address());
    let configured = Configured::new(&format!(
        "[destination.cloud]\n{}[job.shop]\ndatabase_url = {{ env = 'SHOP_URL' }}\ndestinations = ['cloud']\n",
        Seaweed::toml_at(&proxy.endpoint(), &bucket)
    ));
    let pgkeep = |args: &[&str]| {
        let command = configured.pgkeep(args.iter().copied()).server(server);
        command.env("SHOP_URL", server.url(&db)).env("DATABASE_URL", server.url("postgres"))
    };
    pgkeep(&["backup", "now", "shop"]).ok();

    let objects = store.objects(&bucket);
    let find = |fits: &dyn Fn(&str) -> bool| {
        objects.iter().find(|(key, _)| fits(key)).cloned().unwrap_or_else(|| panic!("{objects:?}"))
    };
    let (index, index_bytes) = find(&|key| key.ends_with("/contents.json.gz"));
    let (_, archive_bytes) = find(&|key| key.ends_with(".sql.gz") && !key.ends_with("globals.sql.gz"));
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(&store.get(&bucket, &index)[..]).read_to_string(&mut text).unwrap();
    let index: Value = serde_json::from_str(&text).unwrap();
    let rows: Vec<&Value> =
        index["files"][0]["entries"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "TABLE DATA").collect();
    let bytes_of = |entry: &&Value| entry["table"]["end"].as_u64().unwrap() - entry["table"]["start"].as_u64().unwrap();
    let all: u64 = rows.iter().map(bytes_of).sum();
    let wanted = bytes_of(rows.iter().find(|entry| entry["table"]["table"] == "m_wanted").unwrap());
    // All rows are alike, and so compress alike.
    let stored = archive_bytes * wanted / all;
    let allowed = stored + index_bytes + BESIDES;
    assert!(archive_bytes > 2 * allowed, "{archive_bytes} bytes are too few to show anything: {allowed}");

    let before = proxy.requests().len();
    let into = format!("{db}_part");
    let (report, code) = pgkeep(&["restore", "latest", "--into", &into, "--table", "m_wanted"]).json_with_code();
    assert_eq!((code, &report["proof"], &report["rows"]), (0, &json!("passed"), &json!(20_000)), "{report:#}");
    let read: u64 = proxy.requests().iter().skip(before).map(|request| request.response_bytes).sum();
    println!("{read} bytes were read: the table has {stored}, the index {index_bytes}, the archive {archive_bytes}");
    assert!(read >= stored * 9 / 10, "{read} bytes cannot hold the table's {stored}: what was counted?");
    assert!(read <= allowed, "{read} bytes were read; the table has {stored}, the index {index_bytes}");

    let print = "SELECT count(*), md5(string_agg(m_wanted::text, ',' ORDER BY id)) FROM m_wanted";
    assert_eq!(server.psql(&into, print), server.psql(&db, print));
    let keys = "SELECT count(*) FROM pg_index WHERE indrelid = 'm_wanted'::regclass AND indisprimary";
    assert_eq!(server.psql(&into, keys), "1");
}
