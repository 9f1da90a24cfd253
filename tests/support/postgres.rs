//! Throwaway PostgreSQL servers of any supported major version, on a unix socket in a folder of their own.
//!
//! A server never outlives its test, whatever becomes of the test: a small shell stands between them, waits on a pipe that
//! closes when the test process ends (returns, panics or is killed), then stops the server and removes its folder. Should
//! that shell be killed too, the kernel tells the server to stop (`setpriv --pdeathsig`).

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};

use super::processes::wait_until_within;

/// The major versions that every promise is kept for.
pub const MAJORS: [u32; 5] = [14, 15, 16, 17, 18];

/// How long a server may take to start or stop on a busy machine before the test fails.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs as the server's parent. Its standard input is the pipe from the test, which starts the server anew with every line
/// and ends it with its end; `$1` is the folder to remove, the rest is the server's command line. SIGQUIT is PostgreSQL's
/// immediate shutdown: quick, and it removes its shared memory.
const SUPERVISOR: &str = r#"
    trap '' INT TERM HUP
    folder=$1
    shift
    cd "$folder" || exit 1
    start() {
        setpriv --pdeathsig QUIT "$@" </dev/null >>log 2>&1 &
        server=$!
    }
    stop() {
        kill -QUIT $server 2>/dev/null
        wait $server
    }
    start "$@"
    while read -r _; do
        stop
        start "$@"
    done
    stop
    cd / && rm -rf "$folder"
"#;

/// A running server, stopped and removed when dropped.
pub struct Postgres {
    major: u32,
    bin: PathBuf,
    folder: PathBuf,
    supervisor: Child,
}

impl Postgres {
    /// Starts a server of `major` for one test.
    pub fn start(major: u32) -> Self {
        Self::start_with(major, &[])
    }

    /// Starts a server of `major` with more settings, such as `["wal_level=logical"]`.
    pub fn start_with(major: u32, settings: &[&str]) -> Self {
        let bin = bin_dir(&major.to_string());
        let folder = tempfile::Builder::new().prefix("pgkeep-test-").tempdir_in("/tmp").unwrap().keep();
        // /tmp, whatever TMPDIR says: a socket's path must stay under 107 bytes.
        let owner = ServerUser::get();
        let data = folder.join("data");
        run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(template(major, &bin)).arg(&data));
        owner.own(&folder);

        let mut command = owner.command("/bin/sh");
        command.args(["-c", SUPERVISOR, "supervisor"]).arg(&folder).arg(bin.join("postgres"));
        command.arg("-D").arg(&data).arg("-k").arg(&folder);
        let quick = [
            "listen_addresses=",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "max_connections=50",
            "max_locks_per_transaction=256",
            "max_wal_size=4GB",
            "log_min_messages=warning",
        ];
        for setting in quick.iter().chain(settings) {
            command.args(["-c", setting]);
        }
        // Its own process group: Ctrl-C in a terminal ends the test, and the pipe then ends the server.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let supervisor = command.spawn().expect("/bin/sh");

        let server = Self { major, bin, folder, supervisor };
        server.until_ready(None);
        server
    }

    /// Ends the server at once and starts it again, as after a power cut: every session is gone, nothing was flushed, and
    /// it recovers from its log.
    pub fn crash_and_start(&self) {
        let before = self.pid();
        let mut supervisor = self.supervisor.stdin.as_ref().expect("a pipe");
        supervisor.write_all(b"again\n").expect("the supervisor");
        self.until_ready(Some(before));
    }

    /// Waits until a server takes connections whose main process is not `before`.
    fn until_ready(&self, before: Option<i32>) {
        let ready = wait_until_within(LIMIT, || {
            let file = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
            let pid = file.lines().next().and_then(|pid| pid.parse().ok());
            pid.is_some() && pid != before && file.lines().nth(7).is_some_and(|status| status.trim() == "ready")
        });
        assert!(ready, "PostgreSQL {} did not start within {LIMIT:?}:\n{}", self.major, self.log());
    }

    /// The server of `major` that all tests of one test program share. Make databases of your own on it; leave its roles
    /// and settings as they are, or use [`Postgres::start`].
    pub fn shared(major: u32) -> &'static Self {
        static SERVERS: [OnceLock<Postgres>; MAJORS.len()] = [const { OnceLock::new() }; MAJORS.len()];
        let place =
            MAJORS.iter().position(|m| *m == major).unwrap_or_else(|| panic!("no PostgreSQL {major} in MAJORS"));
        SERVERS[place].get_or_init(|| Self::start(major))
    }

    /// The major version.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The folder with this server's own programs.
    pub fn bin_dir(&self) -> &Path {
        &self.bin
    }

    /// One of this server's own programs.
    pub fn bin(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// The folder of the unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.folder
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.join("log")).unwrap_or_default()).into_owned()
    }

    /// The main process, to signal it.
    pub fn pid(&self) -> i32 {
        let file = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("the server is running");
        file.lines().next().unwrap().parse().unwrap()
    }

    /// A URL of a database for the superuser `postgres`; any name is written correctly.
    pub fn url(&self, db: &str) -> String {
        self.url_as("postgres", db)
    }

    /// A URL of a database for `user`.
    pub fn url_as(&self, user: &str, db: &str) -> String {
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
                .replace("%5F", "_")
        };
        format!("postgres://{}@/{}?host={}", encode(user), encode(db), self.folder.display())
    }

    /// The same connection as libpq's environment variables.
    pub fn env(&self, db: &str) -> [(&'static str, String); 4] {
        [
            ("PGHOST", self.folder.display().to_string()),
            ("PGPORT", "5432".to_owned()),
            ("PGUSER", "postgres".to_owned()),
            ("PGDATABASE", db.to_owned()),
        ]
    }

    /// One of this server's own programs, connected to `db` by its environment, which holds nothing of the caller's.
    pub fn client(&self, name: &str, db: &str) -> Command {
        let mut command = Command::new(self.bin(name));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("PGTZ", "UTC");
        command.env("PGAPPNAME", "fixture").envs(self.env(db)).current_dir("/");
        command
    }

    /// Runs `sql` (several statements and psql's own commands are fine) and gives what it printed: rows, unaligned, fields
    /// parted by `|`. Panics with psql's message at the first error.
    pub fn psql(&self, db: &str, sql: &str) -> String {
        self.try_psql(db, sql).unwrap_or_else(|error| panic!("psql on {db} failed: {error}\n--- in:\n{sql}"))
    }

    /// As [`Postgres::psql`], with psql's messages as the error.
    pub fn try_psql(&self, db: &str, sql: &str) -> Result<String, String> {
        let output = self.feed_psql(db, sql.as_bytes());
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Loads a script: a `.sql` file or a dump, in a database that exists. Panics at the first error.
    pub fn load(&self, db: &str, script: &[u8]) {
        let output = self.feed_psql(db, script);
        assert!(output.status.success(), "loading into {db} failed: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Loads `tests/sql/NAME`.
    pub fn load_sql(&self, db: &str, name: &str) {
        self.load(db, &std::fs::read(super::sql(name)).unwrap());
    }

    fn feed_psql(&self, db: &str, script: &[u8]) -> Output {
        let mut command = self.client("psql", db);
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("psql");
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            // psql may stop reading at an error: then its exit code and message say more than the broken pipe.
            scope.spawn(move || drop(stdin.write_all(script)));
            child.wait_with_output().unwrap()
        })
    }

    /// A new, empty database whose name begins with `hint` and is unique on this machine.
    pub fn create_db(&self, hint: &str) -> String {
        self.create_db_with(hint, "")
    }

    /// As [`Postgres::create_db`], with more options of CREATE DATABASE, such as `ENCODING 'LATIN1' LOCALE 'C'`.
    pub fn create_db_with(&self, hint: &str, options: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        // Also unlike the names of other test processes, and never the beginning of another: it serves as a marker.
        let name = format!("{hint}_{:x}_{:04}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        assert!(name.len() <= 63, "{name} is longer than a PostgreSQL name");
        self.psql(
            "postgres",
            &format!("CREATE DATABASE \"{}\" TEMPLATE template0 {options}", name.replace('"', "\"\"")),
        );
        name
    }

    /// What pg_dump of the same version says about `db`, with more arguments. Panics if it fails.
    pub fn pg_dump<'a>(&self, db: &str, args: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
        let output = self.client("pg_dump", db).args(args).output().expect("pg_dump");
        assert!(output.status.success(), "pg_dump of {db} failed: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Sends a signal to the main process; SIGKILL is a crash, SIGINT a quick and clean shutdown.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("the server is running");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
        // Made by this process, so the folder's own entry in /tmp is its to remove in every case.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The folder with the programs of one version: "14" to "18", or "16.2" for clients from before `\restrict`.
pub fn bin_dir(version: &str) -> PathBuf {
    let places = match std::env::var_os("PGKEEP_TEST_PG") {
        Some(place) => vec![PathBuf::from(place)],
        None => vec![cache().join("pg"), PathBuf::from("/var/cache/pgkeep-tests/pg")],
    };
    let found = places.iter().map(|place| place.join(version).join("bin")).find(|bin| bin.join("postgres").exists());
    found.unwrap_or_else(|| panic!("PostgreSQL {version} is not in {places:?}: run scripts/test.sh, which installs it"))
}

/// Where scripts/test.sh keeps what it downloads, and the fixture its templates.
pub(crate) fn cache() -> PathBuf {
    if Uid::effective().is_root() {
        return PathBuf::from("/var/cache/pgkeep-tests");
    }
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    base.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache")).join("pgkeep-tests")
}

/// A data folder fresh from initdb, made once on this machine: copying it takes 0.04 s, making it half a second.
fn template(major: u32, bin: &Path) -> PathBuf {
    let owner = ServerUser::get();
    let version = Command::new(bin.join("postgres")).arg("--version").output().expect("postgres --version");
    let version = String::from_utf8_lossy(&version.stdout);
    let version = version.trim().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(
        version.split('.').next(),
        Some(major.to_string().as_str()),
        "{} is PostgreSQL {version}",
        bin.display()
    );

    let templates = cache().join("templates");
    std::fs::create_dir_all(&templates).unwrap();
    let finished = templates.join(format!("{version}-{}", owner.uid));
    let lock = File::create(templates.join("lock")).unwrap();
    lock.lock().unwrap();
    if !finished.exists() {
        let work = tempfile::Builder::new().prefix("making-").tempdir_in(&templates).unwrap();
        std::fs::set_permissions(&templates, PermissionsExt::from_mode(0o755)).unwrap();
        owner.own(work.path());
        let data = work.path().join("data");
        let mut initdb = owner.command(bin.join("initdb"));
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"]).arg(&data);
        run(initdb.current_dir("/"));
        std::fs::rename(&data, &finished).unwrap();
    }
    finished
}

/// Who runs the servers: PostgreSQL refuses to run as root.
#[derive(Clone, Copy)]
struct ServerUser {
    uid: u32,
    gid: u32,
}

impl ServerUser {
    fn get() -> Self {
        static USER: OnceLock<ServerUser> = OnceLock::new();
        *USER.get_or_init(|| {
            if !Uid::effective().is_root() {
                let me = std::fs::metadata("/proc/self").unwrap();
                return Self { uid: me.uid(), gid: me.gid() };
            }
            let named = |name| User::from_name(name).ok().flatten();
            let user = named("postgres").or_else(|| named("nobody")).expect("a user named postgres or nobody");
            Self { uid: user.uid.as_raw(), gid: user.gid.as_raw() }
        })
    }

    fn own(self, path: &Path) {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)).unwrap();
    }

    /// A command that runs as this user, with a small environment of its own.
    fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        if Uid::effective().is_root() {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {text}{}", String::from_utf8_lossy(&output.stdout));
}
