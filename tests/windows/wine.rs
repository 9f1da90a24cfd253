//! One Windows of wine's with one PostgreSQL server for all tests of this program. Both end with it, whatever becomes of it:
//! a small shell waits on a pipe that closes then, stops all of wine and removes the folder.

use crate::support::processes::wait_until_within;
use crate::support::{Postgres, bin_dir};
use std::ffi::OsStr;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// An empty configuration.
const NO_CONFIGURATION: &str = r"C:\nothing.toml";

/// How long a program may take under wine on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

/// `PROGRAMS`, where the tests' own Windows has PostgreSQL.
const PG_CTL: &str = r"C:\Program Files\PostgreSQL\15\bin\pg_ctl.exe";

/// As in scripts/windows.sh.
const PREFIX: &str = "prefix-1";

const SUPERVISOR: &str = r#"
    trap '' INT TERM HUP
    read -r _
    # Not with KILL, which would end wine's server alone.
    wineserver -k
    wineserver -w
    rm -rf "$1"
"#;

/// A Windows with PostgreSQL 15, whose superuser needs no password.
pub struct Wine {
    prefix: PathBuf,
    port: u16,
    /// Its input is the pipe.
    _supervisor: Child,
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("\r\n", "\n");
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Fails unless the exit code is `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }
}

impl Wine {
    /// The one of this program.
    pub fn get() -> &'static Self {
        static WINE: OnceLock<Wine> = OnceLock::new();
        WINE.get_or_init(Self::start)
    }

    fn start() -> Self {
        let made = crate::support::postgres::cache().join("windows").join(PREFIX);
        assert!(made.is_dir(), "{} is not there: run scripts/windows.sh, which makes it", made.display());
        // Beside the original, so that its large files can be links.
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(made.parent().unwrap()).unwrap().keep();
        let prefix = folder.join("prefix");
        let copied = Command::new("sh").arg("-ec").arg(COPY).arg("copy").arg(&made).arg(&prefix).status().unwrap();
        assert!(copied.success(), "cannot copy {}", made.display());
        let mut supervisor = Command::new("/bin/sh");
        supervisor.args(["-c", SUPERVISOR, "supervisor"]).arg(&folder).env("WINEPREFIX", &prefix).current_dir("/");
        supervisor.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let supervisor = supervisor.spawn().expect("/bin/sh");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let wine = Self { prefix, port, _supervisor: supervisor };
        let settings = format!(
            "port={port}\nlisten_addresses='127.0.0.1'\nfsync=off\nsynchronous_commit=off\nfull_page_writes=off\n\
             autovacuum=off\nmax_connections=30\n"
        );
        std::fs::write(wine.path(NO_CONFIGURATION), "").unwrap();
        let conf = wine.path(r"C:\pgdata\postgresql.conf");
        std::fs::OpenOptions::new().append(true).open(conf).unwrap().write_all(settings.as_bytes()).unwrap();
        let mut pg_ctl = wine.command(PG_CTL);
        // Not a pipe: the server would keep it open.
        pg_ctl
            .args(["start", "-W", "-D", r"C:\pgdata", "-l", r"C:\pg.log"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        assert!(pg_ctl.status().expect("wine").success());
        let ready = wait_until_within(LIMIT, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() && wine.try_psql("postgres", "SELECT 1").is_ok()
        });
        assert!(ready, "{}", std::fs::read_to_string(wine.path(r"C:\pg.log")).unwrap_or_default());
        wine
    }

    /// A program of this Windows, with a small environment.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("wine");
        command.arg(program).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", &self.prefix);
        command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("WINEPREFIX", &self.prefix).env("WINEDEBUG", "-all");
        command.env("WINEDLLOVERRIDES", "mscoree=;mshtml=").current_dir("/").stdin(Stdio::null());
        command
    }

    /// pgkeep.exe, without a configuration: one test writes its own where every pgkeep of this Windows looks.
    pub fn pgkeep<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.command(executable());
        command.args(args).env("PGKEEP_CONFIG", NO_CONFIGURATION);
        command
    }

    /// Runs pgkeep.exe to its end, with `db` as `DATABASE_URL`.
    pub fn run<'a>(&self, db: &str, args: impl IntoIterator<Item = &'a str>) -> Ended {
        Ended::of(&self.pgkeep(args).env("DATABASE_URL", self.url(db)).output().expect("wine"))
    }

    /// Runs a command to its end.
    pub fn end(command: &mut Command) -> Ended {
        Ended::of(&command.output().expect("wine"))
    }

    /// A database for the superuser `postgres`. Without TLS, so that an error of the server is told in its own words.
    pub fn url(&self, db: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{db}?sslmode=disable", self.port)
    }

    /// Where a path of this Windows is on Linux.
    pub fn path(&self, windows: &str) -> PathBuf {
        let below = windows.strip_prefix(r"C:\").unwrap_or_else(|| panic!("{windows} is not on drive C"));
        self.prefix.join("drive_c").join(below.replace('\\', "/"))
    }

    /// The folder of this Windows on Linux, which is in the environment of everything that runs in it.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// A program of Linux' own PostgreSQL 15, connected to `db` of this server.
    pub fn client(&self, name: &str, db: &str) -> Command {
        let mut command = Command::new(bin_dir("15").join(name));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("PGTZ", "UTC").stdin(Stdio::null());
        command.envs([("PGHOST", "127.0.0.1"), ("PGUSER", "postgres"), ("PGDATABASE", db)]);
        command.env("PGPORT", self.port.to_string()).env("PGCONNECT_TIMEOUT", "10");
        command
    }

    /// What a query answers, with the client of Linux.
    #[track_caller]
    pub fn psql(&self, db: &str, sql: &str) -> String {
        self.try_psql(db, sql).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_psql(&self, db: &str, sql: &str) -> Result<String, String> {
        let psql = self.client("psql", db).args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql]).output().expect("psql");
        if psql.status.success() {
            return Ok(String::from_utf8_lossy(&psql.stdout).trim_end().to_owned());
        }
        Err(String::from_utf8_lossy(&psql.stderr).into_owned())
    }

    /// pg_dump of Linux.
    pub fn pg_dump(&self, db: &str) -> Vec<u8> {
        let dump = self.client("pg_dump", db).output().expect("pg_dump");
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        dump.stdout
    }

    /// A new database with whatever Windows is likely to change: line ends, Ctrl-Z, names and text beyond ASCII.
    pub fn create_db(&self, name: &str) {
        self.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        let load = self.client("psql", name).args(["-Xq", "-v", "ON_ERROR_STOP=1", "-f"]).arg(sql()).output().unwrap();
        assert!(load.status.success(), "{}", String::from_utf8_lossy(&load.stderr));
    }

    /// Writes a file of this Windows, and the folders above it.
    pub fn write(&self, path: &str, text: &str) {
        let file = self.path(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    /// Makes a folder of this Windows, and those above it.
    pub fn create_folder(&self, path: &str) {
        std::fs::create_dir_all(self.path(path)).unwrap();
    }

    /// Fails unless `db` holds what [`Wine::create_db`] made, as pg_dump of Linux tells.
    #[track_caller]
    pub fn assert_is_copy(&self, original: &str, db: &str) {
        crate::support::assert_same_dump(&self.pg_dump(original), &self.pg_dump(db));
    }
}

/// Copies `$1` to `$2`: links for Windows' own files, which nobody writes to.
const COPY: &str = r#"
    mkdir "$2" "$2/drive_c"
    cp -a "$1"/*.reg "$1"/.update-timestamp "$1"/dosdevices "$2"
    cp -al "$1/drive_c/windows" "$2/drive_c"
    for folder in "$1"/drive_c/*; do
        [ "${folder##*/}" = windows ] || cp -a "$folder" "$2/drive_c"
    done
"#;

fn sql() -> PathBuf {
    crate::support::sql("windows.sql")
}

/// The program that scripts/windows.sh builds.
fn executable() -> PathBuf {
    let built =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/windows/x86_64-pc-windows-gnu/windows-test/pgkeep.exe");
    assert!(built.exists(), "{} is not there: run scripts/windows.sh, which builds it", built.display());
    built
}

/// A server of Linux to compare with.
pub fn linux() -> &'static Postgres {
    Postgres::shared(15)
}
