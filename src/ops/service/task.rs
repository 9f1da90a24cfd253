//! The tasks of `windows-task/`, with the paths of this computer.

use crate::error::{Error, ErrorKind, Result};
use std::path::Path;

const DAILY: &str = include_str!("../../../windows-task/pgkeep-daily.xml");
const WEEKLY: &str = include_str!("../../../windows-task/pgkeep-weekly.xml");

/// The names of the tasks.
pub(super) const NAMES: [&str; 2] = ["pgkeep-daily", "pgkeep-weekly"];

/// A task to register.
#[derive(Debug)]
pub(super) struct Task<'t> {
    /// Weekly on Sunday instead of daily.
    pub(super) weekly: bool,
    /// The program to start.
    pub(super) program: &'t Path,
    /// Its configuration.
    pub(super) config: &'t Path,
    /// What it says is appended there.
    pub(super) log: &'t Path,
    /// Whom it runs as: `DOMAIN\name`.
    pub(super) user: &'t str,
    /// The jobs to back up; all if there are none.
    pub(super) jobs: &'t [String],
}

impl Task<'_> {
    /// Its name in the Task Scheduler.
    pub(super) fn name(&self) -> &'static str {
        NAMES[usize::from(self.weekly)]
    }

    /// Its XML.
    pub(super) fn xml(&self) -> Result<String> {
        let (program, config, log) = (word(self.program)?, word(self.config)?, word(self.log)?);
        let mut jobs = String::new();
        for job in self.jobs {
            let separator = if jobs.is_empty() { " -- " } else { " " };
            jobs.push_str(&format!("{separator}{}", quoted(job, &format!("the job {job:?}"))?));
        }
        // cmd takes the first and the last quote away and leaves the others alone (/s).
        let line = format!("/d /s /c \"{program} --quiet --config {config} backup now{jobs} >>{log} 2>&1\"");
        let folder = self.log.parent().unwrap_or(self.log).display().to_string();
        let mut text = if self.weekly { WEEKLY } else { DAILY }.to_owned();
        for (name, value) in [("Arguments", &line), ("WorkingDirectory", &folder)] {
            replace(&mut text, name, value)?;
        }
        let logon = "      <LogonType>";
        Ok(text.replacen("<!--\n", "<!--\n  Registered by `pgkeep service install`.\n", 1).replacen(
            logon,
            &format!("      <UserId>{}</UserId>\n{logon}", escape(self.user)),
            1,
        ))
    }

    /// The same as a file that every version of the Task Scheduler reads: UTF-16, little end first, and declared as such.
    pub(super) fn utf16(&self) -> Result<Vec<u8>> {
        let xml = self.xml()?.replacen("<?xml version=\"1.0\"?>", "<?xml version=\"1.0\" encoding=\"UTF-16\"?>", 1);
        Ok(std::iter::once(0xfeff).chain(xml.encode_utf16()).flat_map(u16::to_le_bytes).collect())
    }
}

/// Replaces the text of the element `name`.
fn replace(text: &mut String, name: &str, value: &str) -> Result<()> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let start = text.find(&open).map(|at| at + open.len());
    let end = text.find(&close);
    let (Some(start), Some(end)) = (start, end) else {
        return Err(Error::new(ErrorKind::Failed, format!("the task of this version has no {name}")));
    };
    text.replace_range(start..end, &escape(value));
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A path as a word of a command line of cmd.
fn word(path: &Path) -> Result<String> {
    let what = path.display().to_string();
    match path.to_str() {
        Some(text) => quoted(text, &what),
        None => Err(refused(&what)),
    }
}

/// `text` in quotes. Within them cmd still replaces `%NAME%`, and nothing stands for a quote.
fn quoted(text: &str, what: &str) -> Result<String> {
    if text.ends_with('\\') || text.chars().any(|c| c.is_control() || c == '"' || c == '%') {
        return Err(refused(what));
    }
    Ok(format!("\"{text}\""))
}

fn refused(what: &str) -> Error {
    let message =
        format!("{what} cannot stand in a task: it holds \"%\", quotes or control characters, or ends in \"\\\"");
    Error::new(ErrorKind::Usage, message).hint("give it another name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task<'t>(weekly: bool, program: &'t str, jobs: &'t [String]) -> Task<'t> {
        let (config, log) = (Path::new(r"C:\ProgramData\pgkeep\pgkeep.toml"), Path::new("C:/logs & more/pgkeep.log"));
        Task { weekly, program: Path::new(program), config, log, user: r"OFFICE\Ana <x>", jobs }
    }

    #[test]
    fn a_task_names_this_computers_paths_and_user() {
        let jobs = ["shop".to_owned(), "caja de Bogotá".to_owned()];
        let xml = task(false, r"D:\My Apps\pgkeep.exe", &jobs).xml().unwrap();
        let line = "<Arguments>/d /s /c \"\"D:\\My Apps\\pgkeep.exe\" --quiet --config \
                    \"C:\\ProgramData\\pgkeep\\pgkeep.toml\" backup now -- \"shop\" \"caja de Bogotá\" \
                    &gt;&gt;\"C:/logs &amp; more/pgkeep.log\" 2&gt;&amp;1\"</Arguments>";
        assert!(xml.contains(line), "{xml}");
        assert!(xml.contains("<WorkingDirectory>C:/logs &amp; more</WorkingDirectory>"), "{xml}");
        assert!(xml.contains("<UserId>OFFICE\\Ana &lt;x&gt;</UserId>\n      <LogonType>S4U</LogonType>"), "{xml}");
        assert!(!xml.contains("Program Files"), "{xml}");
    }

    #[test]
    fn daily_and_weekly_are_two_tasks() {
        let (daily, weekly) = (task(false, "p.exe", &[]), task(true, "p.exe", &[]));
        assert_eq!((daily.name(), weekly.name()), ("pgkeep-daily", "pgkeep-weekly"));
        assert!(daily.xml().unwrap().contains("<ScheduleByDay>") && weekly.xml().unwrap().contains("<Sunday />"));
    }

    #[test]
    fn the_file_is_utf_16_and_says_so() {
        let bytes = task(true, "p.exe", &[]).utf16().unwrap();
        assert_eq!(bytes[..4], [0xff, 0xfe, b'<', 0]);
        let units: Vec<u16> = bytes[2..].chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        assert!(String::from_utf16(&units).unwrap().starts_with("<?xml version=\"1.0\" encoding=\"UTF-16\"?>\n"));
    }

    #[test]
    fn what_cmd_would_read_otherwise_is_refused() {
        for program in [r"C:\50%\pgkeep.exe", "C:\\a\"b.exe", "C:\\a\nb.exe", r"C:\pgkeep\"] {
            assert_eq!(task(false, program, &[]).xml().unwrap_err().kind(), ErrorKind::Usage, "{program}");
        }
        assert!(task(false, "p.exe", &["%PATH%".to_owned()]).xml().is_err());
    }
}
