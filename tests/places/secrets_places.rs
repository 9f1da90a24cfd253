//! The secrets of destinations stay secret (fault 47): the keys of S3, the key, tokens and session URIs of Google Drive, the
//! passwords of rclone's remotes. They are looked for in all that pgkeep says, stores and passes on, in good runs and bad.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::services::{Answer, Drive, DriveFault, Fault, Proxy, SECRET_KEY, Seaweed, Sftp, Wrong};
use crate::support::{Configured, Outcome, Pgkeep, Postgres, everything_below, processes_matching};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A job with one destination, and what nobody may see.
struct Watched {
    server: &'static Postgres,
    db: String,
    configured: Configured,
    secrets: Vec<String>,
}

impl Watched {
    fn new(destination: &str, secrets: Vec<String>) -> Self {
        let server = Postgres::shared(17);
        let db = server.create_db("guarded");
        let row = "(SELECT string_agg(md5(random()::text || i || j), '') FROM generate_series(1, 32) j)";
        server.psql(&db, &format!("CREATE TABLE t AS SELECT i AS id, {row} AS note FROM generate_series(1, 12000) i"));
        let configured = Configured::new(&format!(
            "[destination.far]\n{destination}retry_for = '3s'\ntimeout = '2s'\n\
             [job.shop]\ndatabase_url = {{ env = 'SHOP_URL' }}\ndestinations = ['far']\n"
        ));
        assert!(secrets.iter().all(|secret| secret.len() >= 7), "{secrets:?}");
        Self { server, db, configured, secrets }
    }

    fn pgkeep<const N: usize>(&self, args: [&str; N]) -> Pgkeep {
        let command = self.configured.pgkeep(args).server(self.server).env("SHOP_URL", self.server.url(&self.db));
        let state = self.configured.path().join("state");
        command.env("DATABASE_URL", self.server.url("postgres")).env("PGKEEP_STATE_DIR", state)
    }

    /// Runs it while its children are looked at; returns what it said, which holds no secret.
    fn run(&self, pgkeep: Pgkeep) -> Outcome {
        let done = AtomicBool::new(false);
        let running = pgkeep.spawn();
        let me = running.pid();
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut ours = BTreeSet::from([me]);
                while !done.load(Ordering::Relaxed) {
                    for secret in &self.secrets {
                        for process in processes_matching(secret) {
                            if ours.contains(&process.parent) {
                                ours.insert(process.pid);
                                // A child on its way to becoming another program still looks like pgkeep.
                                assert!(process.name == "pgkeep", "told to a child: {} {}", process.name, process.pid);
                            }
                        }
                    }
                }
            });
            let outcome = running.wait();
            done.store(true, Ordering::Relaxed);
            outcome
        });
        for secret in &self.secrets {
            let told = outcome.stdout.contains(secret) || outcome.stderr.contains(secret);
            assert!(!told, "{secret:?} is told: {outcome}");
        }
        outcome
    }

    fn ok<const N: usize>(&self, args: [&str; N]) -> Outcome {
        let outcome = self.run(self.pgkeep(args));
        assert_eq!(outcome.code, Some(0), "{outcome}");
        outcome
    }

    /// The main job, in text and in JSON.
    fn whole_job(&self) {
        self.ok(["backup", "now", "shop"]);
        self.ok(["backup", "now", "shop", "--json"]);
        self.ok(["backup", "list", "--json"]);
        self.ok(["backup", "show", "shop/latest"]);
        self.ok(["backup", "verify", "--all"]);
        self.ok(["restore", "shop/latest", "--into", &format!("{}_restored", self.db)]);
        self.ok(["drill", "shop/latest", "--json"]);
        self.run(self.pgkeep(["doctor"]));
        self.run(self.pgkeep(["doctor", "--json"]));
        self.nothing_below(&self.configured.path().join("state"));
    }

    fn nothing_below(&self, folder: &Path) {
        for path in everything_below(folder).into_iter().filter(|path| path.is_file()) {
            self.silent(&path.display().to_string(), &std::fs::read(&path).unwrap());
        }
    }

    fn silent(&self, what: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for secret in &self.secrets {
            assert!(!text.contains(secret), "{secret:?} is in {what}");
        }
    }
}

#[test]
fn keys_of_s3_are_told_to_nobody() {
    let server = Seaweed::shared();
    let bucket = server.bucket();
    let proxy = Proxy::to(&server.address());
    let token = "session-token-of-the-tests-7Kq2Vx";
    let authorization = "AWS4-HMAC-SHA256";
    let toml = Seaweed::toml_at(&proxy.endpoint(), &bucket);
    let secrets = vec![SECRET_KEY.to_owned(), token.to_owned(), authorization.to_owned(), "Signature=".to_owned()];
    let site = Watched::new(&toml, secrets);
    site.whole_job();
    for (key, _) in server.objects(&bucket) {
        site.silent(&key, &server.get(&bucket, &key));
    }
    // The keys of AWS's own tools in the environment are pgkeep's business alone.
    let with_keys =
        |args: [&str; 3]| site.pgkeep(args).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY).env("AWS_SESSION_TOKEN", token);
    assert_eq!(site.run(with_keys(["backup", "now", "shop"])).code, Some(0));

    let refusals = [(403, "SignatureDoesNotMatch"), (403, "AccessDenied"), (503, "SlowDown"), (400, "ExpiredToken")];
    for (status, code) in refusals {
        let body = Answer::s3(status, code);
        let _injected = proxy.inject(Fault::answer(body).method("PUT").always());
        let failed = site.run(with_keys(["backup", "now", "shop"]));
        assert_eq!(failed.code, Some(1), "{failed}");
        proxy.calm();
    }
    proxy.refuse();
    assert_eq!(site.run(with_keys(["backup", "list", "--json"])).code, Some(1));
}

#[test]
fn tokens_and_sessions_of_google_drive_are_told_to_nobody() {
    let drive = Drive::start();
    let folder = drive.shared_folder();
    let config = drive.config(&folder);
    let Some(pgkeep::config::SecretRef::File(credentials)) = config.credentials else { panic!("a file") };
    let text = std::fs::read_to_string(&credentials).unwrap();
    let key: serde_json::Value = serde_json::from_str(&text).unwrap();
    let line = key["private_key"].as_str().unwrap().lines().nth(1).unwrap().to_owned();
    let toml = format!(
        "type = 'gdrive'\nfolder_id = '{folder}'\nendpoint = '{}'\ncredentials = {{ file = '{}' }}\n",
        drive.endpoint(),
        credentials.display()
    );
    let secrets = ["Bearer ", "upload_id=", "access_token", "assertion="].map(str::to_owned);
    let site = Watched::new(&toml, [vec![line], secrets.to_vec()].concat());
    site.whole_job();
    for file in drive.files(&folder).iter().filter(|file| !file.is_folder) {
        site.silent(&file.path, &drive.bytes(&file.id));
    }
    for wrong in [Wrong::CutBefore, Wrong::CutAfter, Wrong::StallBefore, Wrong::KillSession(410)] {
        drive.fault(DriveFault::new(wrong).on("PUT", "upload_id=").times(1000));
        let failed = site.run(site.pgkeep(["backup", "now", "shop"]));
        assert_eq!(failed.code, Some(1), "{failed}");
        drive.no_faults();
    }
    drive.fault(DriveFault::new(Wrong::Refused(500, "backendError")).on("POST", "/token").times(1000));
    assert_eq!(site.run(site.pgkeep(["backup", "list"])).code, Some(1));
}

#[test]
fn passwords_of_rclones_remotes_are_told_to_nobody() {
    let server = Sftp::start();
    let config = std::fs::read_to_string(server.config()).unwrap();
    let obscured = config.lines().find_map(|line| line.strip_prefix("pass = ")).unwrap().to_owned();
    let toml = format!(
        "type = 'rclone'\nremote = '{}'\nconfig = '{}'\nprogram = '{}'\n",
        server.remote(),
        server.config().display(),
        crate::services::rclone().display()
    );
    let site = Watched::new(&toml, vec![crate::services::PASSWORD.to_owned(), obscured]);
    site.whole_job();
    site.nothing_below(&server.folder());
    // The server is gone: what rclone says of it is passed on.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(server.pid()), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(site.run(site.pgkeep(["backup", "now", "shop"])).code, Some(1));
}
