//! Servers and clients that scripts/test.sh installs into the cache, and how a server is run: it never outlives its test.
//!
//! As with PostgreSQL's servers, a small shell stands between: it waits on a pipe that closes when the test process ends
//! (returns, panics or is killed), then kills the server and removes its folder. Should that shell be killed too, the
//! kernel kills the server (`setpriv --pdeathsig`).

use crate::support::postgres::cache;
use crate::support::processes::wait_until_within;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a server may take to start on a busy machine before the test fails.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs as the server's parent: `$1` is the folder to remove, the rest is the server's command line.
const SUPERVISOR: &str = r#"
    trap '' INT TERM HUP
    folder=$1
    shift
    cd "$folder" || exit 1
    setpriv --pdeathsig KILL "$@" </dev/null >log 2>&1 &
    server=$!
    echo $server >pid.new && mv pid.new pid
    read -r _
    kill -KILL $server 2>/dev/null
    wait $server
    cd / && rm -rf "$folder"
"#;

/// A program that scripts/test.sh installed, such as `weed`.
pub fn tool(name: &str) -> PathBuf {
    installed("PGKEEP_TEST_BIN", "bin", name)
}

/// The Python with boto3 and Google's client.
pub fn python() -> PathBuf {
    let set = std::env::var_os("PGKEEP_TEST_PYTHON").map(PathBuf::from);
    set.filter(|path| path.exists()).unwrap_or_else(|| installed("", "python/bin", "python3"))
}

fn installed(variable: &str, folder: &str, name: &str) -> PathBuf {
    let places = match std::env::var_os(variable).filter(|_| !variable.is_empty()) {
        Some(place) => vec![PathBuf::from(place)],
        None => vec![cache().join(folder), Path::new("/var/cache/pgkeep-tests").join(folder)],
    };
    let found = places.iter().map(|place| place.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not in {places:?}: run scripts/test.sh --setup, which installs it"))
}

/// `N` ports that nothing listens on at the moment, outside the range that systems give to outgoing connections. Another
/// process may take one before it is used: whoever starts a server tries again.
pub fn free_ports<const N: usize>() -> [u16; N] {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    std::array::from_fn(|_| {
        loop {
            let port = 10_000 + pgkeep::id::random_u16().unwrap() % 20_000;
            if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
                given.insert(port);
                return port;
            }
        }
    })
}

/// A server's process in a folder of its own, killed and removed when dropped.
pub struct Served {
    folder: PathBuf,
    supervisor: Child,
}

impl Served {
    /// A folder for a server, to put into it what the server needs before it starts.
    pub fn folder() -> PathBuf {
        tempfile::Builder::new().prefix("pgkeep-test-").tempdir_in("/tmp").unwrap().keep()
    }

    /// Runs `command` (with nothing of the caller's environment) in `folder`, which from now on is the server's.
    pub fn start(folder: PathBuf, command: &Command) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("HOME", &folder);
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.args(["-c", SUPERVISOR, "supervisor"]).arg(&folder).arg(command.get_program()).args(command.get_args());
        // Its own process group: Ctrl-C in a terminal ends the test, and the pipe then ends the server.
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let supervisor = shell.spawn().expect("/bin/sh");
        let server = Self { folder, supervisor };
        assert!(wait_until_within(LIMIT, || server.pid().is_some()), "{command:?} did not start");
        server
    }

    /// Waits until `ready` says so. False when the process ended before; panics with its log after a minute.
    pub fn wait_until_ready(&self, mut ready: impl FnMut() -> bool) -> bool {
        let mut alive = true;
        let mut is_ready = false;
        let ended = wait_until_within(LIMIT, || {
            alive = self.is_running();
            is_ready = alive && ready();
            is_ready || !alive
        });
        assert!(ended, "not ready within {LIMIT:?}:\n{}", self.log());
        is_ready
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.pid().is_some_and(crate::support::is_running)
    }

    /// The server's process.
    pub fn pid(&self) -> Option<i32> {
        std::fs::read_to_string(self.folder.join("pid")).ok()?.trim().parse().ok()
    }

    /// Where it runs.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.join("log")).unwrap_or_default()).into_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}
