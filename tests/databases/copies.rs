//! One backup in several places: a destination that was down is healed, damaged copies are passed over, and a restore
//! whose copy vanishes goes on from another (fault 19).
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::support::{Configured, Pgkeep, Postgres, backup_dirs, everything_below};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A database of some megabytes and a job that stores it in two folders, the second on a disk that may be away.
struct Shop {
    server: &'static Postgres,
    db: String,
    configured: Configured,
}

impl Shop {
    fn open() -> Self {
        let server = Postgres::shared(17);
        let db = server.create_db("shop");
        let note = "(SELECT string_agg(md5(random()::text || i || j), '') FROM generate_series(1, 20) j)";
        server.psql(&db, &format!("CREATE TABLE orders AS SELECT i, {note} AS note FROM generate_series(1, 20000) i"));
        let configured = Configured::new(
            "destination.office = { type = 'folder', path = 'office' }\n\
             destination.attic = { type = 'folder', path = 'disk/attic' }\n\
             [job.shop]\ndatabase_url = { env = 'SHOP_URL' }\ndestinations = ['office', 'attic']\n",
        );
        Self { server, db, configured }
    }

    fn plug_in(&self) {
        std::fs::create_dir(self.configured.path().join("disk")).unwrap();
    }

    fn pgkeep<const N: usize>(&self, args: [&str; N]) -> Pgkeep {
        self.configured.pgkeep(args).server(self.server).env("SHOP_URL", self.server.url(&self.db))
    }

    fn list(&self) -> Vec<Value> {
        self.pgkeep(["backup", "list", "shop"]).json()["backups"].as_array().unwrap().clone()
    }

    /// The files of the one backup in `folder`, without receipts.
    fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let [dir] = backup_dirs(self.configured.path().join(folder)).try_into().expect("one backup");
        let files = everything_below(&dir).into_iter().filter(|path| path.is_file());
        let named =
            files.map(|path| (path.strip_prefix(&dir).unwrap().display().to_string(), std::fs::read(&path).unwrap()));
        named.filter(|(name, _)| !name.contains('/')).collect()
    }

    /// Changes one byte in the middle of the archive in `folder`.
    fn damage(&self, folder: &str) {
        let file = everything_below(self.configured.path().join(folder)).into_iter();
        let file =
            file.filter(|path| path.to_string_lossy().ends_with(".sql.gz")).max_by_key(|path| size(path)).unwrap();
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        std::fs::write(&file, bytes).unwrap();
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

#[test]
fn a_destination_that_was_down_is_healed_bit_for_bit() {
    let shop = Shop::open();
    let (answer, code) = shop.pgkeep(["backup", "now", "shop"]).json_with_code();
    let destinations = &answer["backups"][0]["destinations"];
    assert_eq!((code, &answer["backups"][0]["status"]), (3, &json!("partial")), "{answer:#}");
    assert_eq!((&destinations[0]["status"], &destinations[1]["status"]), (&json!("stored"), &json!("failed")));

    // Away still: it cannot be healed, and that is said.
    shop.pgkeep(["backup", "copy", "--missing"]).fails(1).explains(&["attic cannot be created"], "mount its disk");
    shop.plug_in();
    assert_eq!(shop.list()[0]["missing"], json!(["attic"]));
    let text = shop.pgkeep(["backup", "list"]).ok().stdout;
    assert!(text.contains("office; NOT attic"), "{text}");

    let (copied, code) = shop.pgkeep(["backup", "copy", "--missing", "shop"]).json_with_code();
    assert_eq!((code, &copied["copies"][0]["status"]), (0, &json!("copied")), "{copied:#}");
    assert_eq!((&copied["copies"][0]["from"], &copied["copies"][0]["to"]), (&json!("office"), &json!("attic")));
    assert_eq!(shop.files("office"), shop.files("disk/attic"));
    assert_eq!(
        (&shop.list()[0]["missing"], &shop.list()[0]["destinations"]),
        (&json!([]), &json!(["office", "attic"]))
    );
    let again = shop.pgkeep(["backup", "copy", "--missing"]).ok();
    assert_eq!(again.stdout, "nothing is missing\n");
    let verified = shop.pgkeep(["backup", "verify", "--all"]).json();
    let results: Vec<&Value> = verified["backups"].as_array().unwrap().iter().map(|one| &one["result"]).collect();
    assert_eq!(results, ["intact", "intact"]);
}

#[test]
fn a_copy_is_taken_from_where_the_bytes_are_right() {
    let shop = Shop::open();
    shop.plug_in();
    shop.pgkeep(["backup", "now", "shop"]).ok();
    shop.pgkeep(["drill", "shop"]).ok();
    let intact = shop.files("office");
    shop.damage("office");
    let third = shop.configured.path().join("third");
    let to_third = |args: &[&str]| shop.pgkeep(["backup", "copy", "shop/latest", "--to"]).arg(&third).args(args);

    to_third(&["--from", "office"]).fails(4).explains(&["has changed", "office"], "verify");
    assert_eq!(everything_below(&third), Vec::<std::path::PathBuf>::new());
    let copied = to_third(&[]).ok();
    assert!(copied.stderr.contains("the copy in office cannot be used"), "{copied}");
    assert!(copied.stdout.contains("copied from attic"), "{copied}");
    assert_eq!(shop.files("third"), intact);
    let listed = shop.pgkeep(["backup", "list", "--at"]).arg(&third).json();
    assert_eq!(listed["backups"][0]["drill_result"], "passed", "what drills proved goes with the bytes");
    assert!(to_third(&[]).ok().stdout.contains("already"));
}

#[test]
fn a_restore_whose_copy_vanishes_goes_on_from_another() {
    let shop = Shop::open();
    shop.plug_in();
    shop.pgkeep(["backup", "now", "shop"]).ok();
    // The disk with the first copy dies when the definitions are being loaded: the rows were not read yet.
    let script = format!(
        "case \"$*\" in *'-f -'*) find '{}' -name '*.sql.gz' -delete ;; esac\nexec \"$REAL\" \"$@\"",
        shop.configured.path().join("office").display()
    );
    let programs = crate::support::fake_bin_dir(shop.server.bin_dir(), [("psql", script.as_str())]);
    let target = shop.server.url("shop_again");
    let restored = shop.pgkeep(["restore", "shop/latest", "--into", &target]).bin_dir(programs.path()).ok();
    assert!(restored.stderr.contains("the copy in office cannot be used"), "{restored}");
    let sum = "SELECT count(*), md5(string_agg(note, '' ORDER BY i)) FROM orders";
    assert_eq!(shop.server.psql("shop_again", sum), shop.server.psql(&shop.db, sum));

    // With the other copy changed there is nothing that could go on: nothing is left of the restore.
    shop.damage("disk/attic");
    let failed = shop.pgkeep(["restore", "shop/latest", "--into", &shop.server.url("shop_third")]).fails(4);
    assert!(failed.stderr.contains("cannot be used"), "{failed}");
    // Scratch databases are not looked for here: other tests make some on the same server.
    let there = "SELECT count(*) FROM pg_database WHERE datname = 'shop_third'";
    assert_eq!(shop.server.psql("postgres", there).trim(), "0");
}

#[test]
fn a_damaged_manifest_condemns_its_own_copy_only() {
    let shop = Shop::open();
    shop.plug_in();
    shop.pgkeep(["backup", "now", "shop"]).ok();
    let [dir] = backup_dirs(shop.configured.path().join("office")).try_into().unwrap();
    let text = std::fs::read_to_string(dir.join("manifest.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    let data = manifest["files"].as_array_mut().unwrap().iter_mut().find(|file| file["kind"] == "data").unwrap();
    data["sha256"] = json!("0".repeat(64));
    std::fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();

    let list = shop.pgkeep(["backup", "list", "shop"]).ok();
    assert!(list.stderr.contains("the manifests of") && list.stderr.contains("office and attic"), "{list}");
    let (verified, code) = shop.pgkeep(["backup", "verify", "--all"]).json_with_code();
    let result = |at: &str| {
        let all = verified["backups"].as_array().unwrap();
        all.iter().find(|one| one["destination"] == at).unwrap()["result"].clone()
    };
    assert_eq!((code, result("office"), result("attic")), (4, json!("damaged"), json!("intact")), "{verified:#}");
    let target = shop.server.url("shop_from_the_attic");
    shop.pgkeep(["restore", "shop/latest", "--into", &target, "--at", "attic"]).ok();
}
