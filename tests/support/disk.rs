//! Small disks of their own, to be filled or made read-only. Mounting needs root.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A disk in memory, unmounted when dropped.
pub struct Disk(TempDir);

impl Disk {
    /// A disk with tmpfs options, such as `size=1m`.
    pub fn new(options: &str) -> Self {
        let disk = Self(super::temp_dir());
        // Servers that run as another user must come through to it.
        std::fs::set_permissions(disk.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let options = format!("mode=0777,{options}");
        mount(&["-t", "tmpfs", "-o", &options, "pgkeep-test", disk.path().to_str().unwrap()]);
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// From now on nothing can be written.
    pub fn make_read_only(&self) {
        self.remount("ro");
    }

    /// Changes options, such as `size=2m`.
    pub fn remount(&self, options: &str) {
        mount(&["-o", &format!("remount,{options}"), self.path().to_str().unwrap()]);
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

fn mount(arguments: &[&str]) {
    assert!(
        as_root("mount", arguments),
        "this test needs a small disk and could not mount one: run it as root, or let this user run mount and umount \
         through sudo without a password"
    );
}
