//! systemd's units, as `systemd/` has them, with the paths of this computer.

use crate::error::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// The program and the configuration that the units of `systemd/` name.
const PROGRAM: &str = "/usr/local/bin/pgkeep";
const CONFIG: &str = "/etc/pgkeep/pgkeep.toml";
const USER_CONFIG: &str = "%h/.config/pgkeep/pgkeep.toml";
/// Below this comment stand the folders that are destinations.
const FOLDERS: &str = "#ReadWritePaths=-/srv/backups\n";

const BACKUP_TIMER: (&str, &str) = ("pgkeep-backup@.timer", include_str!("../../../systemd/pgkeep-backup@.timer"));
const DRILL_TIMER: (&str, &str) = ("pgkeep-drill@.timer", include_str!("../../../systemd/pgkeep-drill@.timer"));

/// For the whole computer.
const SYSTEM: [(&str, &str); 5] = [
    ("pgkeep.service", include_str!("../../../systemd/pgkeep.service")),
    ("pgkeep-backup@.service", include_str!("../../../systemd/pgkeep-backup@.service")),
    BACKUP_TIMER,
    ("pgkeep-drill@.service", include_str!("../../../systemd/pgkeep-drill@.service")),
    DRILL_TIMER,
];

/// For one user.
const USER: [(&str, &str); 5] = [
    ("pgkeep.service", include_str!("../../../systemd/user/pgkeep.service")),
    ("pgkeep-backup@.service", include_str!("../../../systemd/user/pgkeep-backup@.service")),
    BACKUP_TIMER,
    ("pgkeep-drill@.service", include_str!("../../../systemd/user/pgkeep-drill@.service")),
    DRILL_TIMER,
];

/// The user whom the services of the whole computer run as.
pub(super) const SYSUSERS: &str = include_str!("../../../systemd/sysusers.conf");

/// The paths that units name.
#[derive(Debug)]
pub(super) struct Paths<'p> {
    /// The program to start.
    pub(super) program: &'p Path,
    /// Its configuration.
    pub(super) config: &'p Path,
    /// What it writes to besides its state folder: destinations that are folders, and `temp_dir`.
    pub(super) writable: &'p [PathBuf],
}

/// The units by name: for one user if `user`, else for the whole computer.
pub(super) fn units(user: bool, paths: &Paths<'_>) -> Result<Vec<(&'static str, String)>> {
    let program = word(paths.program)?;
    let config = word(paths.config)?;
    let mut folders = FOLDERS.to_owned();
    for path in paths.writable {
        // A folder that is not there yet keeps no service from starting.
        folders.push_str(&format!("ReadWritePaths={}\n", quoted(&format!("-{}", plain(path)?))));
    }
    let (all, named) = if user { (USER, USER_CONFIG) } else { (SYSTEM, CONFIG) };
    let started = format!("ExecStart={PROGRAM} --config {named} ");
    let starts = format!("ExecStart={program} --config {config} ");
    Ok(all.map(|(name, text)| (name, text.replace(&started, &starts).replace(FOLDERS, &folders))).into())
}

/// The name of the timer's instance for `job`.
pub(super) fn instance(kind: &str, job: &str) -> Result<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    // systemd.unit(5) allows a few more, which it then escapes: the job would be called otherwise.
    if job.is_empty() || job.len() > 200 || !job.chars().all(fits) {
        return Err(Error::new(ErrorKind::Usage, format!("the job {job:?} cannot have a timer of its own")).hint(
            "names of units hold letters, digits, \"_\", \".\" and \"-\" only: rename the job, or let `pgkeep run` take \
             its backups (leave out --timer)",
        ));
    }
    Ok(format!("pgkeep-{kind}@{job}.timer"))
}

/// A path as a word of `ExecStart=`.
fn word(path: &Path) -> Result<String> {
    Ok(quoted(&plain(path)?))
}

fn quoted(text: &str) -> String {
    if text.contains(' ') { format!("\"{text}\"") } else { text.to_owned() }
}

/// A path without what systemd would read as something else (systemd.service(5), "Command lines"): `%` is doubled, and
/// what quotes, escapes or expands is refused, as each kind of line treats it in another way.
fn plain(path: &Path) -> Result<String> {
    let refuse = |why: &str| {
        Err(Error::new(ErrorKind::Usage, format!("{} cannot stand in a unit of systemd: {why}", path.display()))
            .hint("give it another name, or link it from a plain one"))
    };
    let Some(text) = path.to_str() else { return refuse("it is not UTF-8") };
    if !text.starts_with('/') {
        return refuse("it is not absolute");
    }
    if text.chars().any(|c| c.is_control() || "\"'\\$;".contains(c)) {
        return refuse("it holds quotes, backslashes, \"$\", \";\" or control characters");
    }
    Ok(text.replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(user: bool, program: &str, config: &str, writable: &[&str]) -> Result<Vec<(&'static str, String)>> {
        let writable: Vec<PathBuf> = writable.iter().map(PathBuf::from).collect();
        units(user, &Paths { program: Path::new(program), config: Path::new(config), writable: &writable })
    }

    #[test]
    fn every_unit_names_this_computers_paths() {
        for user in [true, false] {
            let units = render(user, "/opt/my apps/pgkeep", "/etc/50%/p.toml", &["/srv/a b", "/mnt/c"]).unwrap();
            for (name, text) in units.iter().filter(|(name, _)| name.ends_with(".service")) {
                let start = "ExecStart=\"/opt/my apps/pgkeep\" --config /etc/50%%/p.toml ";
                assert_eq!(text.matches(start).count(), 1, "{name}: {text}");
                assert!(!text.contains(PROGRAM), "{name}");
                let folders = "\nReadWritePaths=\"-/srv/a b\"\nReadWritePaths=-/mnt/c\n";
                assert_eq!(text.contains(folders), !user, "{name}: {text}");
            }
        }
    }

    #[test]
    fn the_units_of_the_repository_are_what_the_usual_paths_give() {
        for ((name, text), (_, original)) in render(false, PROGRAM, CONFIG, &[]).unwrap().iter().zip(SYSTEM) {
            assert_eq!(text, original, "{name}");
        }
    }

    #[test]
    fn what_systemd_would_read_otherwise_is_refused() {
        for path in ["/opt/$HOME/pgkeep", "/opt/a\"b", "/opt/a'b", "/opt/a\\b", "/opt/a\nb", "opt/pgkeep", "/opt/a;b"] {
            assert!(render(false, path, CONFIG, &[]).is_err(), "{path}");
            assert!(render(false, PROGRAM, path, &[]).is_err(), "{path}");
            assert!(render(false, PROGRAM, CONFIG, &[path]).is_err(), "{path}");
        }
        assert_eq!(instance("backup", "my-shop_2.eu").unwrap(), "pgkeep-backup@my-shop_2.eu.timer");
        for job in ["", "caja bogotá", "a/b", "a@b", "a\\x2db"] {
            assert!(instance("backup", job).is_err(), "{job}");
        }
    }
}
