//! Real remotes for rclone: WebDAV and SFTP servers with a user and a password, each on a private folder, and the
//! configuration file that names them.

use super::tools::{Served, free_ports, tool};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

/// The servers' user.
pub const USER: &str = "keeper";
/// Its password.
pub const PASSWORD: &str = "pass word-of-the-tests";

/// How often a server is started again whose port was taken in the meantime.
const STARTS: u32 = 5;

/// The rclone that scripts/test.sh installed.
pub fn rclone() -> PathBuf {
    tool("rclone")
}

/// `rclone serve webdav`.
pub struct Webdav(Serving);

/// `rclone serve sftp`.
pub struct Sftp(Serving);

impl Webdav {
    /// Starts one on an empty folder.
    pub fn start() -> Self {
        Self(Serving::start("webdav"))
    }
}

impl Sftp {
    /// Starts one on an empty folder.
    pub fn start() -> Self {
        Self(Serving::start("sftp"))
    }
}

impl std::ops::Deref for Webdav {
    type Target = Serving;

    fn deref(&self) -> &Serving {
        &self.0
    }
}

impl std::ops::Deref for Sftp {
    type Target = Serving;

    fn deref(&self) -> &Serving {
        &self.0
    }
}

/// A server, its folder, and the configuration that reaches it.
pub struct Serving {
    kind: &'static str,
    port: u16,
    server: Served,
}

impl Serving {
    fn start(kind: &'static str) -> Self {
        (0..STARTS).find_map(|_| Self::try_start(kind)).expect("an rclone that keeps its port")
    }

    fn try_start(kind: &'static str) -> Option<Self> {
        let [port] = free_ports();
        let folder = Served::folder();
        std::fs::create_dir(folder.join("files")).unwrap();
        let mut command = Command::new(rclone());
        command.args(["serve", kind, "files", "--addr", &format!("127.0.0.1:{port}")]);
        command.args(["--user", USER, "--pass", PASSWORD, "--config", "", "--dir-cache-time", "1s"]);
        let server = Served::start(folder, &command);
        server.wait_until_ready(|| TcpStream::connect(("127.0.0.1", port)).is_ok()).then_some(())?;
        let serving = Self { kind, port, server };
        std::fs::write(serving.config(), serving.remote_section(&serving.address())).unwrap();
        std::fs::set_permissions(serving.config(), PermissionsExt::from_mode(0o600)).unwrap();
        Some(serving)
    }

    /// The remote's section of an rclone.conf, for a server that is reached at `address`.
    fn remote_section(&self, address: &str) -> String {
        let output = Command::new(rclone()).args(["obscure", PASSWORD]).output().expect("rclone obscure");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let password = String::from_utf8(output.stdout).unwrap();
        let (host, port) = address.split_once(':').unwrap();
        let place = match self.kind {
            "webdav" => format!("url = http://{address}\nvendor = rclone\n"),
            _ => format!("host = {host}\nport = {port}\n"),
        };
        format!("[{0}]\ntype = {0}\n{place}user = {USER}\npass = {password}", self.kind)
    }

    /// How rclone names the place, `NAME:backups`.
    pub fn remote(&self) -> String {
        format!("{}:backups", self.kind)
    }

    /// The rclone.conf that names the remote. It is the test's own: it may be changed.
    pub fn config(&self) -> PathBuf {
        self.server.path().join("rclone.conf")
    }

    /// Another rclone.conf with the same remote, reached at `address` (`127.0.0.1:PORT`), such as a [`super::Proxy`]'s.
    pub fn config_at(&self, address: &str) -> PathBuf {
        let path = self.server.path().join(format!("rclone-{}.conf", address.replace(':', "-")));
        std::fs::write(&path, self.remote_section(address)).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    /// Where the server keeps its files; [`Serving::remote`] is the folder `backups` in it.
    pub fn folder(&self) -> PathBuf {
        self.server.path().join("files")
    }

    /// The server's address for a proxy, `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The server's process.
    pub fn pid(&self) -> i32 {
        self.server.pid().expect("it was started")
    }

    /// The server's log.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Runs rclone with this configuration; gives what it printed. Panics if it fails.
    pub fn rclone<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> String {
        let mut command = Command::new(rclone());
        command.env_clear().env("HOME", self.server.path()).arg("--config").arg(self.config()).args(args);
        let output = command.output().expect("rclone");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}
