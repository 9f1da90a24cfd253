//! `pgkeep auth gdrive` as people use it: the built program, a browser that follows redirects, and a Google that is strict.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use crate::services::Drive;
use crate::support::wait_until;
use pgkeep::cancel::Cancel;
use pgkeep::config::{DriveConfig, SecretRef};
use pgkeep::destination::{Backoff, Drive as Service, Key, Service as _};
use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// A person's computer: a home, and the client's file from Google's console.
struct Desk {
    drive: Drive,
    home: TempDir,
}

/// The command under way.
struct Asking {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    reading: Option<JoinHandle<()>>,
}

/// How it ended.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { drive: Drive::start(), home: crate::support::temp_dir() };
        std::fs::write(desk.home.path().join("client.json"), desk.drive.client_json()).unwrap();
        desk
    }

    fn usual(&self) -> PathBuf {
        self.home.path().join(".config/pgkeep/gdrive.json")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgkeep"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.home.path()).current_dir(self.home.path());
        command.args(["auth", "gdrive", "--endpoint", self.drive.endpoint()]).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn ask(&self, args: &[&str]) -> Asking {
        Asking::start(self.command(args))
    }

    fn with_client(&self, args: &[&str]) -> Asking {
        self.ask(&[&["--client", "client.json"], args].concat())
    }

    /// Stores and reads with the credentials in `path`.
    fn works(&self, path: &Path, folder: &str) {
        let mut config = DriveConfig::new(folder);
        config.credentials = Some(SecretRef::File(path.to_owned()));
        config.endpoint = Some(self.drive.endpoint().to_owned());
        let service = Service::new("drive", config, Backoff::new(Duration::from_secs(5), Cancel::new()));
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            service.check_writable().await.unwrap();
            let key: Key = format!("job/{}", service.list(None).await.unwrap().len()).parse().unwrap();
            service.create(&key, b"hello".as_slice().into()).await.unwrap();
            assert_eq!(service.read(&key, 0..5).await.unwrap(), "hello");
        });
    }
}

/// The credentials file, which only its owner may read.
fn permission(path: &Path) -> Value {
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

impl Asking {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&stderr);
        let mut from = child.stderr.take().unwrap();
        let reading = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = std::io::Read::read(&mut from, &mut piece) {
                into.lock().unwrap().extend_from_slice(&piece[..n]);
            }
        });
        let mut out = child.stdout.take().unwrap();
        let stdout = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut out, &mut bytes).unwrap();
            bytes
        });
        Self { child, stdout: Some(stdout), stderr, reading: Some(reading) }
    }

    fn stderr(&self) -> String {
        String::from_utf8(self.stderr.lock().unwrap().clone()).unwrap()
    }

    /// The address that it prints.
    fn url(&self) -> String {
        let url = || {
            let told = self.stderr();
            let line = told.lines().find(|line| line.starts_with("http")).map(str::to_owned);
            line.filter(|line| told.contains(&format!("{line}\n")))
        };
        wait_until("the address", || url().is_some());
        url().unwrap()
    }

    fn paste(&mut self, text: &str) {
        let mut stdin = self.child.stdin.take().unwrap();
        writeln!(stdin, "{text}").unwrap();
    }

    fn wait(mut self) -> Ended {
        let code = self.child.wait().unwrap().code().expect("not ended by a signal");
        self.reading.take().unwrap().join().unwrap();
        let stdout = String::from_utf8(self.stdout.take().unwrap().join().unwrap()).unwrap();
        Ended { code, stdout, stderr: self.stderr() }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    fn fails(&self, code: i32, words: &str) {
        assert_eq!(self.code, code, "{}", self.stderr);
        assert!(self.stderr.contains(words), "{words:?} is not in:\n{}", self.stderr);
        assert!(self.stderr.contains("hint: "), "{}", self.stderr);
    }

    fn tells_no_secret(&self, permission: &Value) {
        for name in ["client_secret", "refresh_token"] {
            let secret = permission[name].as_str().unwrap();
            assert!(!self.stdout.contains(secret) && !self.stderr.contains(secret), "{name}");
        }
        for start in ["ya29.", "1//", "4/0A", "GOCSPX-"] {
            assert!(!self.stdout.contains(start) && !self.stderr.contains(start), "{start}\n{}", self.stderr);
        }
    }
}

/// A browser: follows redirects, and gives the status and the text of the page where they end.
fn browse(url: &str) -> (u16, String) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let page = reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap();
        (page.status().as_u16(), page.text().await.unwrap())
    })
}

/// A browser on another computer: where it is sent, and cannot go.
fn sent_to(url: &str) -> String {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        client.get(url).send().await.unwrap().headers()["location"].to_str().unwrap().to_owned()
    })
}

fn parameter(url: &str, name: &str) -> String {
    let url = reqwest::Url::parse(url).unwrap();
    url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
}

#[test]
fn a_browser_on_this_computer_gives_permission() {
    let desk = Desk::new();
    let asking = desk.with_client(&[]);
    let url = asking.url();
    assert_eq!(parameter(&url, "scope"), "https://www.googleapis.com/auth/drive.file");
    assert_eq!(parameter(&url, "access_type"), "offline");
    let home = reqwest::Url::parse(&parameter(&url, "redirect_uri")).unwrap();
    // A browser asks for an icon first, and somebody else for nothing in particular.
    assert_eq!(browse(home.join("/favicon.ico").unwrap().as_str()).0, 404);
    assert_eq!(browse(home.as_str()).0, 404);
    let (status, page) = browse(&url);
    assert!(status == 200 && page.contains("Thank you"), "{page}");
    let ended = asking.wait();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let kept = permission(&desk.usual());
    assert_eq!(kept["type"], "pgkeep_gdrive_user");
    assert_eq!(kept["account"], "somebody@example.com");
    ended.tells_no_secret(&kept);
    let folder = kept["folder_id"].as_str().unwrap();
    assert!(
        ended.stdout.contains("[destination.gdrive]") && ended.stdout.contains(&format!("folder_id = \"{folder}\""))
    );
    assert!(!ended.stdout.contains("credentials ="), "the usual place need not be named");
    desk.works(&desk.usual(), folder);
}

#[test]
fn a_browser_elsewhere_gives_permission_by_what_is_pasted() {
    let desk = Desk::new();
    let mut asking = desk.with_client(&["--no-browser", "--output", "other/g.json"]);
    let target = sent_to(&asking.url());
    asking.paste(&target);
    let ended = asking.wait();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let file = desk.home.path().join("other/g.json");
    let kept = permission(&file);
    ended.tells_no_secret(&kept);
    assert!(ended.stdout.contains(&format!("credentials = {{ file = \"{}\" }}", file.display())), "{}", ended.stdout);
    desk.works(&file, kept["folder_id"].as_str().unwrap());
}

/// After seven days, or a new password: the same client and the same folder, without having to name them.
#[test]
fn permission_that_is_given_again_leads_to_the_same_folder() {
    let desk = Desk::new();
    let asking = desk.with_client(&[]);
    browse(&asking.url());
    assert_eq!(asking.wait().code, 0);
    let first = permission(&desk.usual());
    desk.works(&desk.usual(), first["folder_id"].as_str().unwrap());
    desk.drive.revoke();
    let auth = format!("{}/auth", desk.drive.endpoint());
    let asking = desk.ask(&["--auth-uri", &auth]);
    browse(&asking.url());
    let ended = asking.wait();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let second = permission(&desk.usual());
    assert_eq!(first["folder_id"], second["folder_id"]);
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    desk.works(&desk.usual(), second["folder_id"].as_str().unwrap());
}

#[test]
fn a_client_may_be_given_by_id_and_secret() {
    let desk = Desk::new();
    let client: Value = serde_json::from_str(&desk.drive.client_json()).unwrap();
    let (id, secret) = (&client["installed"]["client_id"], &client["installed"]["client_secret"]);
    let path = desk.home.path().join("secret");
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    writeln!(file, "{}", secret.as_str().unwrap()).unwrap();
    let (auth, token) = (format!("{}/auth", desk.drive.endpoint()), format!("{}/token", desk.drive.endpoint()));
    let args = ["--client-id", id.as_str().unwrap(), "--client-secret-file", "secret"];
    let asking = desk.ask(&[&args[..], &["--auth-uri", &auth, "--token-uri", &token, "--json"]].concat());
    browse(&asking.url());
    let ended = asking.wait();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(told["account"], "somebody@example.com");
    assert_eq!(told["folder"], "pgkeep backups");
    ended.tells_no_secret(&permission(&desk.usual()));
}

#[test]
fn a_person_who_says_no_is_understood() {
    let desk = Desk::new();
    desk.drive.user_agrees(false);
    let asking = desk.with_client(&[]);
    let (_, page) = browse(&asking.url());
    assert!(page.contains("No permission"), "{page}");
    asking.wait().fails(1, "no permission");
    assert!(!desk.usual().exists());
}

#[test]
fn an_answer_to_another_request_is_refused() {
    let desk = Desk::new();
    let asking = desk.with_client(&[]);
    let home = parameter(&asking.url(), "redirect_uri");
    assert_eq!(browse(&format!("{home}/?code=4/0Astolen&state=guessed")).0, 400);
    asking.wait().fails(1, "does not belong to this request");
    let mut asking = desk.with_client(&["--no-browser"]);
    let home = parameter(&asking.url(), "redirect_uri");
    asking.paste(&format!("{home}/?code=4/0Astolen&state=guessed"));
    let ended = asking.wait();
    ended.fails(1, "does not belong to this request");
    assert!(!ended.stderr.contains("stolen"));
    assert!(!desk.usual().exists());
}

#[test]
fn a_box_that_was_not_ticked_is_said() {
    let desk = Desk::new();
    desk.drive.user_ticks(&["drive.metadata.readonly"]);
    let asking = desk.with_client(&[]);
    browse(&asking.url());
    asking.wait().fails(1, "does not hold Google Drive");
    assert!(!desk.usual().exists());
}

#[test]
fn what_cannot_be_used_is_said_before_anybody_is_asked() {
    let desk = Desk::new();
    desk.ask(&[]).wait().fails(2, "as which client");
    std::fs::write(desk.home.path().join("web.json"), r#"{"web": {"client_id": "hunter2"}}"#).unwrap();
    desk.ask(&["--client", "web.json"]).wait().fails(2, "web application");
    desk.ask(&["--client", "none.json"]).wait().fails(1, "none.json");
    desk.with_client(&["--auth-uri", "http://example.com/auth"]).wait().fails(2, "neither https nor of this computer");
    let key = desk.home.path().join("key.json");
    std::fs::write(&key, desk.drive.service_account_json()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    desk.with_client(&["--output", "key.json"]).wait().fails(1, "holds something else");
    assert_eq!(std::fs::read_to_string(&key).unwrap(), desk.drive.service_account_json());
}

#[test]
fn nobody_answers_in_time() {
    Desk::new().with_client(&["--timeout", "1s"]).wait().fails(1, "no answer came");
}

#[test]
fn what_is_pasted_must_be_an_address() {
    let desk = Desk::new();
    let mut asking = desk.with_client(&["--no-browser"]);
    asking.url();
    asking.paste("4/0Acode");
    let ended = asking.wait();
    ended.fails(2, "not the address");
    assert!(!ended.stderr.contains("4/0Acode"));
    let mut asking = desk.with_client(&["--no-browser"]);
    asking.url();
    asking.paste("");
    asking.wait().fails(2, "nothing was pasted");
}

#[test]
fn a_folder_that_pgkeep_does_not_see_is_refused_and_nothing_is_kept() {
    let desk = Desk::new();
    let strange = desk.drive.strange_folder();
    let asking = desk.with_client(&["--folder-id", &strange]);
    browse(&asking.url());
    asking.wait().fails(1, "does not see it");
    assert!(!desk.usual().exists());
}

/// The desktop's opener gets the address, and nothing of the environment that it has no use for.
#[test]
fn the_desktops_browser_is_opened() {
    let desk = Desk::new();
    let bin = desk.home.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let script = "#!/bin/sh\nenv > \"$HOME/environment\"\nprintf %s \"$1\" > \"$HOME/opened.part\"\nmv \"$HOME/opened.part\" \"$HOME/opened\"\n";
    std::fs::write(bin.join("xdg-open"), script).unwrap();
    std::fs::set_permissions(bin.join("xdg-open"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = desk.command(&["--client", "client.json"]);
    command
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("DISPLAY", ":7")
        .env("DATABASE_URL", "postgres://x:hunter2@h/d");
    let asking = Asking::start(command);
    let opened = desk.home.path().join("opened");
    wait_until("a browser", || opened.exists());
    let url = std::fs::read_to_string(opened).unwrap();
    assert_eq!(url, asking.url());
    assert!(!std::fs::read_to_string(desk.home.path().join("environment")).unwrap().contains("hunter2"));
    browse(&url);
    assert_eq!(asking.wait().code, 0);
}
