//! Where a secret comes from. The configuration holds the reference; the text is fetched when it is needed.

use crate::error::{Context, Error, ErrorKind, Result};
use crate::secret::Secret;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A secret, or the place to get it from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// `{ env = "NAME" }`: an environment variable.
    Env(String),
    /// `{ file = "path" }`: the contents of a file that only its owner can read.
    File(PathBuf),
    /// `{ credential = "name" }`: what the service manager hands to this service alone, as systemd does with
    /// `LoadCredential=` ([`is_credential_name`] says which names there are).
    Credential(String),
    /// `{ command = ["op", "read", "..."] }`: what a program prints.
    Command(Vec<String>),
    /// The text itself.
    Literal(Secret),
}

/// The folder with the credentials of a service (systemd.exec(5), "Credentials").
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// Whether systemd can give a credential this name: a file's name of printable ASCII without a colon, at most 255 bytes.
pub(super) fn is_credential_name(name: &str) -> bool {
    let fits = (1..=255).contains(&name.len()) && name != "." && name != "..";
    fits && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'/' && byte != b':')
}

impl SecretRef {
    /// Fetches the text. Blocks while a file is read or a command runs. No error repeats any of the text.
    pub fn resolve(&self) -> Result<Secret> {
        match self {
            Self::Env(name) => from_environment(name, std::env::var_os(name)),
            Self::File(path) => from_file(path),
            Self::Credential(name) => from_credential(name, std::env::var_os(CREDENTIALS_VARIABLE).map(PathBuf::from)),
            Self::Command(words) => from_command(words),
            Self::Literal(secret) => Ok(secret.clone()),
        }
    }
}

fn from_environment(name: &str, value: Option<std::ffi::OsString>) -> Result<Secret> {
    let value = value.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("the environment variable {name} is not set")).hint(format!(
            "set {name} where pgkeep runs; cron and services do not read your shell's profile, use {{ file = \"...\" }} there"
        ))
    })?;
    let text = value
        .into_string()
        .map_err(|_| Error::new(ErrorKind::Config, format!("the environment variable {name} is not UTF-8")))?;
    non_empty(text, || format!("the environment variable {name}"))
}

fn from_file(path: &Path) -> Result<Secret> {
    let what = || format!("the secret file {}", path.display());
    let file = std::fs::File::open(path).doing(|| format!("cannot open {}", what()))?;
    let metadata = file.metadata().doing(|| format!("cannot look at {}", what()))?;
    if let Some(mode) = open_to_others(&metadata) {
        return Err(Error::new(ErrorKind::PermissionDenied, format!("{} is open to others (mode {mode:03o})", what()))
            .hint(format!("run: chmod 600 {}", path.display())));
    }
    text_of(file, what)
}

/// The mode is not looked at: systemd lets the service in by an access list, whose mask then shows as the group's bits,
/// and nobody else gets into the folder.
fn from_credential(name: &str, folder: Option<PathBuf>) -> Result<Secret> {
    let how = || {
        format!(
            "add to the service, with `systemctl edit`, in [Service]: LoadCredential={name}:/etc/pgkeep/credentials/{name}"
        )
    };
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty()).ok_or_else(|| {
        let message = format!("there is no credential {name:?}: {CREDENTIALS_VARIABLE} is not set");
        Error::new(ErrorKind::NotFound, message)
            .hint(format!("only services of systemd have credentials; {}; elsewhere set {CREDENTIALS_VARIABLE} to a folder with a file of that name", how()))
    })?;
    let what = || format!("the credential {name:?}");
    let file = std::fs::File::open(folder.join(name))
        .doing(|| format!("cannot open {}", what()))
        .map_err(|error| if error.kind() == ErrorKind::NotFound { error.hint(how()) } else { error })?;
    text_of(file, what)
}

/// The whole text, without its last newline.
fn text_of(file: std::fs::File, what: impl Fn() -> String) -> Result<Secret> {
    let mut text = std::io::read_to_string(file).doing(|| format!("cannot read {}", what()))?;
    trim_newline(&mut text);
    non_empty(text, what)
}

fn from_command(words: &[String]) -> Result<Secret> {
    let (program, arguments) =
        words.split_first().ok_or_else(|| Error::new(ErrorKind::Config, "the command for a secret is empty"))?;
    // The program may ask for a password itself, so it keeps the terminal; its complaints go to stderr as they come.
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::inherit())
        .stderr(Stdio::inherit())
        .output()
        .doing(|| format!("cannot run {program} to get a secret"))?;
    if !output.status.success() {
        return Err(Error::new(
            ErrorKind::Failed,
            format!("{program} gave no secret: it ended with {}", output.status),
        )
        .hint("run the configured command by hand and see what it says"));
    }
    let text = String::from_utf8(output.stdout)
        .map_err(|_| Error::new(ErrorKind::Config, format!("what {program} printed as a secret is not UTF-8")))?;
    non_empty(text.trim().to_owned(), || format!("the output of {program}"))
}

/// An empty secret is always a mistake, and an empty connection string would quietly mean the local default database.
fn non_empty(text: String, what: impl FnOnce() -> String) -> Result<Secret> {
    if text.is_empty() {
        return Err(Error::new(ErrorKind::Config, format!("{} is empty, a secret was expected", what())));
    }
    Ok(Secret::new(text))
}

fn trim_newline(text: &mut String) {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
}

/// The permission bits of a file that its group or everybody can read or write.
#[cfg(unix)]
pub(super) fn open_to_others(metadata: &std::fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    (metadata.is_file() && mode & 0o066 != 0).then_some(mode)
}

/// Windows keeps access lists, which a mode cannot tell: the folder's own protection has to do.
#[cfg(not(unix))]
pub(super) fn open_to_others(_metadata: &std::fs::Metadata) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_missing_or_empty_is_named() {
        let missing = from_environment("APP_URL", None).unwrap_err();
        assert_eq!(missing.to_string(), "the environment variable APP_URL is not set");
        assert!(from_environment("APP_URL", Some("".into())).unwrap_err().to_string().contains("APP_URL is empty"));
        assert_eq!(from_environment("APP_URL", Some("x\n".into())).unwrap().expose(), "x\n");
        assert!(SecretRef::Env("PGKEEP_NO_SUCH_VARIABLE".into()).resolve().is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("url");
        std::fs::write(&path, "hunter2\n\n").unwrap();
        for (mode, fine) in
            [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o644, false), (0o620, false)]
        {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let answer = SecretRef::File(path.clone()).resolve();
            match answer {
                Ok(secret) => {
                    assert!(fine, "{mode:o}");
                    assert_eq!(secret.expose(), "hunter2\n", "one newline is trimmed");
                }
                Err(error) => {
                    assert!(!fine, "{mode:o}");
                    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                    assert!(error.hint_text().unwrap().starts_with("run: chmod 600 /"));
                    assert!(!error.one_line().contains("hunter2"));
                }
            }
        }
        assert_eq!(SecretRef::File(dir.path().join("none")).resolve().unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn a_credential_is_read_as_the_service_manager_gives_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.url");
        std::fs::write(&path, "hunter2\n").unwrap();
        // What systemd's access list looks like.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440)).unwrap();
        let folder = || Some(dir.path().to_owned());
        assert_eq!(from_credential("shop.url", folder()).unwrap().expose(), "hunter2");

        let missing = from_credential("crm.url", folder()).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert_eq!(missing.to_string(), "cannot open the credential \"crm.url\"");
        assert!(missing.hint_text().unwrap().contains("LoadCredential=crm.url:"), "{missing:?}");
        for no_folder in [None, Some(PathBuf::new())] {
            let error = from_credential("shop.url", no_folder).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().contains("CREDENTIALS_DIRECTORY is not set"), "{error:?}");
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(from_credential("shop.url", folder()).unwrap_err().to_string().contains("is empty"));
    }

    #[test]
    fn a_credentials_name_cannot_leave_its_folder() {
        for name in ["shop", "shop.url", "a b", "..."] {
            assert!(is_credential_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "/etc/passwd", "a:b", "a\nb", "ñ", &"x".repeat(256)] {
            assert!(!is_credential_name(name), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_command_must_succeed_and_say_something() {
        let run = |script: &str| SecretRef::Command(vec!["sh".into(), "-c".into(), script.into()]).resolve();
        assert_eq!(run("printf ' hunter2\\n\\n'").unwrap().expose(), "hunter2");
        let failed = run("echo hunter2; exit 3").unwrap_err();
        assert!(failed.one_line().contains("exit status: 3"), "{failed:?}");
        assert!(!failed.one_line().contains("hunter2"));
        assert!(run("true").unwrap_err().to_string().contains("empty"));
        assert!(SecretRef::Command(vec!["/no/such/program".into()]).resolve().is_err());
        assert!(SecretRef::Command(Vec::new()).resolve().is_err());
    }

    #[test]
    fn debugging_a_literal_does_not_tell_it() {
        let literal = SecretRef::Literal(Secret::new("hunter2"));
        assert!(!format!("{literal:?}").contains("hunter2"));
        assert_eq!(literal.resolve().unwrap().expose(), "hunter2");
    }
}
