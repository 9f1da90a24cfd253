//! Small disks, to be filled up.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A small disk of its own, unmounted in the end.
pub struct Disk(TempDir);

impl Disk {
    /// Mounts one with these options of tmpfs, such as `size=4m`; everybody may write to it.
    pub fn new(options: &str) -> Self {
        let disk = Self(super::temp_dir());
        // Servers that run as another user must come through to it.
        std::fs::set_permissions(disk.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let options = format!("mode=0777,{options}");
        let mounted = as_root("mount", &["-t", "tmpfs", "-o", &options, "pgkeep-test", disk.path().to_str().unwrap()]);
        assert!(
            mounted,
            "this test needs a small disk and could not mount one: run it as root, or let this user run mount and \
             umount through sudo without a password"
        );
        disk
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        as_root("umount", &["-l", self.path().to_str().unwrap()]);
    }
}

fn as_root(program: &str, arguments: &[&str]) -> bool {
    let run = |mut command: Command| command.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    let mut plain = Command::new(program);
    plain.args(arguments);
    let mut sudo = Command::new("sudo");
    sudo.arg("-n").arg(program).args(arguments);
    run(plain) || run(sudo)
}
