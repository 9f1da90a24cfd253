//! Finding and reading the configuration file.

use super::reader::Problems;
use super::resolve::{Origin, resolve};
use super::secret_ref::open_to_others;
use crate::config::Config;
use crate::error::{Context, Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// The environment variable that names the file.
pub const CONFIG_VARIABLE: &str = "PGKEEP_CONFIG";

/// The file's name where it is looked for.
pub const FILE_NAME: &str = "pgkeep.toml";

/// More than any configuration: a device or a dump named by mistake is not read into memory.
const LARGEST_FILE: u64 = 4 << 20;

/// Where the file is looked for when nobody names one: the working directory, the user's and the system's config folder.
pub fn candidates() -> Vec<PathBuf> {
    candidates_in(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from), cfg!(windows))
}

fn candidates_in(variable: impl Fn(&str) -> Option<PathBuf>, windows: bool) -> Vec<PathBuf> {
    let system =
        if windows { variable("PROGRAMDATA").map(|dir| dir.join("pgkeep")) } else { Some("/etc/pgkeep".into()) };
    let mut files = vec![PathBuf::from(FILE_NAME)];
    files.extend(user_folder_in(variable, windows).into_iter().chain(system).map(|folder| folder.join(FILE_NAME)));
    files
}

/// The user's own folder for pgkeep's files, whether it exists or not; `None` where the environment does not tell.
pub(crate) fn user_folder() -> Option<PathBuf> {
    user_folder_in(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from), cfg!(windows))
}

fn user_folder_in(variable: impl Fn(&str) -> Option<PathBuf>, windows: bool) -> Option<PathBuf> {
    let folder = if windows {
        variable("APPDATA")
    } else {
        // The XDG specification says that a relative folder is to be ignored.
        let user = variable("XDG_CONFIG_HOME").filter(|dir| dir.is_absolute());
        user.or_else(|| variable("HOME").map(|home| home.join(".config")))
    };
    folder.map(|folder| folder.join("pgkeep"))
}

/// The file to read: `given` with `--config`, else `$PGKEEP_CONFIG`, else the first of [`candidates`] that exists.
pub fn find(given: Option<&Path>) -> Option<PathBuf> {
    let named = given.map(Path::to_owned);
    let named =
        named.or_else(|| std::env::var_os(CONFIG_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from));
    // A named file is taken even if it is missing, so that reading it says so. One that cannot be looked at counts as
    // existing for the same reason: passing over it would run with another configuration.
    named.or_else(|| candidates().into_iter().find(|file| file.try_exists().unwrap_or(true)))
}

impl Config {
    /// Finds and reads the configuration; without any file it is the default one.
    pub fn load(given: Option<&Path>) -> Result<Self> {
        find(given).map_or_else(|| Ok(Self::default()), |path| Self::read(&path))
    }

    /// Reads the file at `path`. Relative paths in it start from its folder.
    pub fn read(path: &Path) -> Result<Self> {
        let doing = || format!("cannot read the configuration {}", path.display());
        let config_kind = |error: Error| error.with_kind(ErrorKind::Config);
        let path = std::path::absolute(path).doing(doing).map_err(config_kind)?;
        let metadata = std::fs::metadata(&path).doing(doing).map_err(|error| {
            config_kind(error)
                .hint(format!("--config and {CONFIG_VARIABLE} name the file; without it pgkeep looks around"))
        })?;
        if !metadata.is_file() || metadata.len() > LARGEST_FILE {
            return Err(Error::new(ErrorKind::Config, format!("{} is no configuration file", path.display()))
                .hint("name a TOML file; examples/pgkeep.toml is one"));
        }
        let bytes = std::fs::read(&path).doing(doing).map_err(config_kind)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let readable = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
            let line = readable.matches('\n').count() + 1;
            Error::new(ErrorKind::Config, format!("{}, line {line}: this is not UTF-8", path.display()))
                .hint("save the file as UTF-8")
        })?;
        let origin = Origin { folder: path.parent(), open_to_others: open_to_others(&metadata) };
        let mut config = from_text(&text, &path.display().to_string(), origin)?;
        config.path = Some(path);
        Ok(config)
    }
}

/// Reads the configuration `text` of the file called `name`.
pub(super) fn from_text(text: &str, name: &str, origin: Origin<'_>) -> Result<Config> {
    let mut problems = Problems::new(text);
    // Editors on Windows like to put a byte order mark before the text; the parser skips it.
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        // Not its `Display`: that repeats the line, with whatever secret is in it.
        problems.add(&error.span().unwrap_or(0..0), error.message());
    }
    // What was recovered from a file that is not TOML would give rise to problems that are none.
    let config = if problems.is_empty() { resolve(table.get_ref(), origin, &mut problems) } else { Config::default() };
    if problems.is_empty() { Ok(config) } else { Err(problems.into_error(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_working_directory_comes_before_the_users_and_the_systems_folder() {
        let linux = |name: &str| (name == "HOME").then(|| PathBuf::from("/home/ana"));
        let expected: Vec<PathBuf> = ["pgkeep.toml", "/home/ana/.config/pgkeep/pgkeep.toml", "/etc/pgkeep/pgkeep.toml"]
            .map(PathBuf::from)
            .into();
        assert_eq!(candidates_in(linux, false), expected);
        let xdg = |name: &str| (name == "XDG_CONFIG_HOME").then(|| PathBuf::from("/cfg"));
        assert_eq!(candidates_in(xdg, false)[1], PathBuf::from("/cfg/pgkeep/pgkeep.toml"));
        let windows = |name: &str| matches!(name, "APPDATA" | "PROGRAMDATA").then(|| PathBuf::from(name));
        assert_eq!(
            candidates_in(windows, true)[1..],
            ["APPDATA", "PROGRAMDATA"].map(|d| Path::new(d).join("pgkeep/pgkeep.toml"))
        );
    }

    #[test]
    fn a_named_file_that_is_missing_is_an_error() {
        let error = Config::load(Some(Path::new("/no/such/pgkeep.toml"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("/no/such/pgkeep.toml"));
    }

    #[test]
    fn a_folder_or_latin1_is_no_configuration() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Config::read(dir.path()).unwrap_err().kind(), ErrorKind::Config);
        let path = dir.path().join("pgkeep.toml");
        std::fs::write(&path, b"timezone = \"UTC\"\n# a\xf1o\n").unwrap();
        assert!(Config::read(&path).unwrap_err().to_string().ends_with("line 2: this is not UTF-8"));
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert!(from_text("\u{feff}timezone = \"UTC\"", "x", Origin::default()).is_ok());
    }
}
