//! Drills on Windows: a throwaway cluster on a port of its own, and none of it left.

use crate::wine::Wine;

#[test]
fn a_drill_restores_compares_and_leaves_nothing() {
    let (wine, home) = (Wine::get(), r"C:\drilled");
    wine.create_db("drilled");
    wine.run("drilled", ["backup", "now", "--to", home]).exits(0);
    wine.create_folder(r"C:\temp of drills");
    let told = Wine::end(
        wine.pgkeep(["drill", "--at", home]).env("TEMP", r"C:\temp of drills").env("TMP", r"C:\temp of drills"),
    );
    let told = told.exits(0).stdout;
    assert!(told.contains("drill passed"), "{told}");
    let left = crate::support::everything_below(wine.path(r"C:\temp of drills"));
    assert!(left.is_empty(), "{left:?}");
    let listed = wine.run("drilled", ["backup", "list", "--at", home]).exits(0).stdout;
    assert!(listed.contains("just now") && !listed.contains("never  never"), "{listed}");
}
