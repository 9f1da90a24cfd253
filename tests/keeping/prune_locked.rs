//! Retention where a real service locks what it stores: that stays, the plan says until when, and nobody tries to delete it.

use crate::services::Seaweed;
use crate::support::{Configured, Postgres};

#[test]
fn what_object_lock_keeps_stays_and_the_plan_says_until_when() {
    let server = Postgres::shared(17);
    let db = server.create_db("locked");
    server.psql(&db, "CREATE TABLE t AS SELECT 1 AS a");
    let seaweed = Seaweed::shared();
    let bucket = seaweed.locked_bucket();
    let configured = Configured::new(&format!(
        "[destination.cloud]\n{}object_lock = {{ mode = 'governance', retain = '1h' }}\n\
         [job.shop]\ndatabase_url = {{ env = 'SHOP_URL' }}\ndestinations = ['cloud']\nretention = {{ at_least = 1 }}\n",
        Seaweed::toml_at(&seaweed.endpoint(), &bucket)
    ));
    let url = server.url(&db);
    let pgkeep = |args: &[&str]| configured.pgkeep(args.iter().copied()).server(server).env("SHOP_URL", &url);
    for _ in 0..3 {
        let (answer, code) = pgkeep(&["backup", "now", "shop"]).json_with_code();
        assert_eq!((code, answer["backups"][0]["pruned"].as_u64()), (0, Some(0)), "{answer:#}");
    }
    let before = seaweed.versions(&bucket);
    let (answer, code) = pgkeep(&["backup", "prune", "shop"]).json_with_code();
    let plan = answer["plan"].as_array().unwrap();
    let reasons: Vec<String> = plan.iter().map(|one| one["reasons"].to_string()).collect();
    assert_eq!((code, plan.len(), answer["deleted"].as_array().unwrap().len()), (0, 3, 0), "{answer:#}");
    assert!(reasons.iter().filter(|reasons| reasons.contains("locked until ")).count() == 2, "{answer:#}");
    assert_eq!(seaweed.versions(&bucket), before, "nothing was deleted");
    assert_eq!(pgkeep(&["backup", "list"]).json()["backups"].as_array().unwrap().len(), 3);
}
