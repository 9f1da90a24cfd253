//! Looking at the machine's processes: what a test started, what is left of it, and waiting for it to go.

use std::path::Path;
use std::time::{Duration, Instant};

/// How long to wait for something that should happen at once.
const LIMIT: Duration = Duration::from_secs(20);

/// Waits until `happened` is true; panics with `what` after twenty seconds.
pub fn wait_until(what: &str, happened: impl FnMut() -> bool) {
    assert!(wait_until_within(LIMIT, happened), "waited {LIMIT:?} in vain for {what}");
}

/// Waits until `happened` is true, for `limit` at most; says whether it was.
pub(crate) fn wait_until_within(limit: Duration, mut happened: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        if happened() {
            return true;
        }
        if begin.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process as /proc shows it.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    /// The program's short name, such as `pg_dump`.
    pub name: String,
    /// Its arguments, parted by spaces.
    pub command_line: String,
    /// Its environment, `NAME=value` each.
    pub environment: Vec<String>,
}

/// Every process whose arguments or environment hold `marker`, apart from this one and from servers' own processes.
///
/// A database's name is a good marker: [`super::Postgres::create_db`] makes it unique, and whatever connects to it must
/// be told that name.
pub fn processes_matching(marker: &str) -> Vec<Process> {
    let me = std::process::id().cast_signed();
    let entries = std::fs::read_dir("/proc").expect("/proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let found = pids.filter(|pid| *pid != me).filter_map(look_at);
    found
        .filter(|process| !process.command_line.starts_with("postgres: "))
        .filter(|process| {
            process.command_line.contains(marker) || process.environment.iter().any(|line| line.contains(marker))
        })
        .collect()
}

/// Waits until no process matches `marker`; panics with what is still there.
pub fn wait_until_gone(marker: &str) {
    let gone = wait_until_within(LIMIT, || processes_matching(marker).is_empty());
    assert!(gone, "still running after {LIMIT:?}: {:#?}", processes_matching(marker));
}

/// Does this process exist? A zombie, which only waits for its parent, does not count.
pub fn is_running(pid: i32) -> bool {
    stat(pid).is_some_and(|(_, state, _)| state != 'Z' && state != 'X')
}

fn look_at(pid: i32) -> Option<Process> {
    let (name, state, parent) = stat(pid)?;
    if state == 'Z' || state == 'X' {
        return None;
    }
    let read = |file: &str| {
        let bytes = std::fs::read(Path::new("/proc").join(pid.to_string()).join(file)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.split_terminator('\0').map(str::to_owned).collect::<Vec<_>>()
    };
    Some(Process { pid, parent, name, command_line: read("cmdline").join(" "), environment: read("environ") })
}

/// Short name, state and parent: proc(5), stat. The name stands in parentheses and may itself hold some.
fn stat(pid: i32) -> Option<(String, char, i32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = text.rsplit_once(')')?;
    let mut fields = tail.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((head.split_once('(')?.1.to_owned(), state, fields.next()?.parse().ok()?))
}

/// Waits for the end of a pgkeep, and gives the most memory that it ever held, in bytes.
pub fn peak_memory(running: &mut super::Running) -> u64 {
    let (mut most, status) = (0, format!("/proc/{}/status", running.pid()));
    let peak = |text: &str| {
        text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse::<u64>().ok())
    };
    let ended = wait_until_within(Duration::from_secs(300), || {
        most = most.max(peak(&std::fs::read_to_string(&status).unwrap_or_default()).unwrap_or(0));
        running.has_ended()
    });
    assert!(ended, "it still runs");
    assert!(most > 0, "its memory was never seen");
    most << 10
}
