//! A backup to a cluster of S3 servers one of which dies while it is being stored: nothing of it is lost.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::services::{Fault, Proxy, Seaweed, SeaweedCluster};
use crate::support::{Configured, Postgres};

#[test]
fn a_server_that_dies_in_mid_upload_costs_no_backup() {
    let cluster = SeaweedCluster::start();
    let server = Postgres::shared(17);
    let db = server.create_db("cluster");
    let row = "(SELECT string_agg(md5(random()::text || i || j), '') FROM generate_series(1, 32) j)";
    server.psql(&db, &format!("CREATE TABLE orders AS SELECT i AS id, {row} AS note FROM generate_series(1, 40000) i"));
    let bucket = cluster.bucket();
    let proxy = Proxy::to(&cluster.address());
    let configured = Configured::new(&format!(
        "[destination.cloud]\n{}part_size = '5MiB'\nconcurrency = 1\ntimeout = '20s'\nretry_for = '60s'\n\
         [job.shop]\ndatabase_url = {{ env = 'SHOP_URL' }}\ndestinations = ['cloud']\n",
        Seaweed::toml_at(&proxy.endpoint(), &bucket)
    ));
    let pgkeep = |args: &[&str]| {
        let command = configured.pgkeep(args.iter().copied()).server(server);
        command.env("SHOP_URL", server.url(&db)).env("DATABASE_URL", server.url(&db))
    };
    pgkeep(&["backup", "now", "shop"]).ok();
    assert_eq!(cluster.whole_backups(&bucket), 1);

    // Slow enough that there is a middle.
    proxy.inject(Fault::slow(4 << 20).operation("UploadPart").always());
    let before = proxy.count("UploadPart");
    let running = pgkeep(&["backup", "now", "shop"]).spawn();
    crate::support::wait_until("the second part", || proxy.count("UploadPart") >= before + 2);
    cluster.kill_volume_server(0);
    let outcome = running.wait();
    proxy.calm();
    let mut backups = match outcome.code {
        Some(0) => 2,
        // Then cleanly, and the next run does it.
        Some(1) => 1,
        _ => panic!("{outcome}"),
    };
    assert_eq!(cluster.whole_backups(&bucket), backups, "{outcome}");
    if backups == 1 {
        pgkeep(&["backup", "now", "shop"]).ok();
        backups = 2;
    }
    assert_eq!(cluster.whole_backups(&bucket), backups);
    let (verified, code) = pgkeep(&["backup", "verify", "--all"]).json_with_code();
    assert!(code == 0 && verified["backups"].as_array().unwrap().len() == 2, "{verified:#}");
    let target = format!("{db}_again");
    pgkeep(&["restore", "latest", "--into", &target]).ok();
    let orders = "SELECT count(*), md5(string_agg(note, '' ORDER BY id)) FROM orders";
    assert_eq!(server.psql(&target, orders), server.psql(&db, orders));
}
