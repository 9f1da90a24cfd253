//! `pgkeep auth gdrive`: a person's permission for Google Drive, and a folder for backups.

use super::Context;
use crate::config::drive_credentials_file;
use crate::destination::gdrive::{App, DriveFolder, Permission, Waiting, check_place};
use crate::error::{Error, ErrorKind, Result};
use async_trait::async_trait;
use serde::Serialize;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The variables that a browser needs to open on this desktop; the rest, a connection string among it, is not for it.
const DESKTOP: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "XDG_CURRENT_DESKTOP",
    "XDG_DATA_DIRS",
    "DBUS_SESSION_BUS_ADDRESS",
    "BROWSER",
    "SystemRoot",
    "USERPROFILE",
    "APPDATA",
    "LOCALAPPDATA",
];

/// What is asked for.
pub struct AuthRequest {
    /// The app that asks.
    pub app: App,
    /// There is a browser on this computer; without one the answer is pasted.
    pub browser: bool,
    /// The folder for backups; else one is made.
    pub folder_id: Option<String>,
    /// Where the permission is kept; else at its usual place.
    pub output: Option<PathBuf>,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// The person who is asked for permission.
#[async_trait]
pub trait Asked: Send + Sync {
    /// Shows the address to open. With `browser` it was tried to open it.
    fn show(&self, url: &str, browser: bool);

    /// What the person pastes: the address to which the browser was sent.
    async fn pasted(&self) -> Result<String>;
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct AuthOutcome {
    /// The account's e-mail address.
    pub account: String,
    /// The id of the folder for backups.
    pub folder_id: String,
    /// Its name.
    pub folder: String,
    /// The file that holds the permission.
    pub credentials: PathBuf,
    /// Whether that is where pgkeep looks by itself.
    #[serde(skip)]
    pub usual: bool,
}

/// Where the permission is kept: `output`, or its usual place.
pub fn auth_file(output: Option<&PathBuf>) -> Result<PathBuf> {
    let file = output.cloned().or_else(drive_credentials_file).ok_or_else(|| {
        Error::new(ErrorKind::Usage, "it is not known where your configuration lies: there is no HOME")
            .hint("name a file with --output")
    })?;
    std::path::absolute(&file).map_err(|source| Error::io(format!("cannot use {}", file.display()), source))
}

/// Asks `person` for permission, keeps it, and finds or makes the folder for backups.
pub async fn auth_gdrive(ctx: &Context, request: AuthRequest, person: &dyn Asked) -> Result<AuthOutcome> {
    let file = auth_file(request.output.as_ref())?;
    // Before anybody is asked for anything: an answer that cannot be kept is a nuisance.
    check_place(&file)?;
    let flow = async {
        let permission = ask(&request, person).await?;
        let account = permission.account().await?;
        let folder = permission.folder(request.folder_id.as_deref()).await?;
        permission.save(&file, &account, &folder).await?;
        Ok::<(String, DriveFolder), Error>((account, folder))
    };
    let (account, folder) = tokio::select! {
        done = flow => done?,
        () = ctx.cancel.cancelled() => return Err(ctx.cancel.error()),
    };
    let usual =
        drive_credentials_file().and_then(|usual| std::path::absolute(usual).ok()).is_some_and(|usual| usual == file);
    Ok(AuthOutcome { account, folder_id: folder.id, folder: folder.name, credentials: file, usual })
}

async fn ask(request: &AuthRequest, person: &dyn Asked) -> Result<Permission> {
    let waiting = Waiting::begin(request.app.clone(), request.browser).await?;
    let opened = request.browser && open_browser(waiting.url());
    person.show(waiting.url(), opened);
    let answer = async {
        if request.browser {
            waiting.answered().await
        } else {
            let pasted = person.pasted().await?;
            waiting.pasted(&pasted).await
        }
    };
    tokio::time::timeout(request.timeout, answer).await.unwrap_or_else(|_| {
        let seconds = request.timeout.as_secs();
        Err(Error::new(ErrorKind::Failed, format!("no answer came from the browser within {seconds} s"))
            .hint("run `pgkeep auth gdrive` again; if the browser is on another computer, with --no-browser"))
    })
}

/// Tries to open a browser; whether something was started that may do so.
fn open_browser(url: &str) -> bool {
    let desktop = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let (program, args): (_, &[&str]) = if cfg!(windows) {
        // Not `start`: the shell would take the URL's ampersands for its own.
        ("rundll32", &["url.dll,FileProtocolHandler", url])
    } else if cfg!(target_os = "macos") {
        ("open", &[url])
    } else if desktop("DISPLAY") || desktop("WAYLAND_DISPLAY") || desktop("BROWSER") {
        ("xdg-open", &[url])
    } else {
        return false;
    };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).env_clear();
    command.envs(DESKTOP.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    let Ok(mut child) = command.spawn() else { return false };
    // Its end is nobody's business, but it must not stay as a zombie. The browser may go on without it.
    std::thread::spawn(move || child.wait());
    true
}
