//! The folder destination's dealings with Unix: private modes, checked closes, durable folders, free space.

use super::examine::{Access, Disk};
use nix::sys::statvfs::statvfs;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Creates a new file, mode 0600 whatever the umask, open for reading and writing.
pub(super) fn create_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o777 != 0o600 {
        without_modes_is_fine(file.set_permissions(Permissions::from_mode(0o600)))?;
    }
    Ok(file)
}

/// Creates a new folder, mode 0700 whatever the umask.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    if std::fs::metadata(path)?.permissions().mode() & 0o777 != 0o700 {
        without_modes_is_fine(std::fs::set_permissions(path, Permissions::from_mode(0o700)))?;
    }
    Ok(())
}

/// FAT and some network file systems have no modes of their own and refuse to change them.
fn without_modes_is_fine(changed: io::Result<()>) -> io::Result<()> {
    match changed {
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

/// Closes `file` and says what close(2) said: network file systems report failed writes there.
pub(super) fn close(file: File) -> io::Result<()> {
    nix::unistd::close(file).map_err(io::Error::from)
}

/// Gives a finished file its name unless that is taken.
pub(super) fn publish(temp: tempfile::TempPath, target: &Path) -> io::Result<()> {
    temp.persist_noclobber(target).map_err(|failed| failed.error)
}

/// Makes the entries of the folder durable: names that were created, renamed or removed in it.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some file systems cannot sync a folder, and then write its entries through.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

/// Asks the kernel to forget what it holds of these bytes of `file`, so that the next read of them comes from the disk.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(super) fn forget_cached(file: &File, bytes: Range<u64>) {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    // Advice: where it is not taken, the read is merely a weaker check.
    let (start, length) = (bytes.start as _, bytes.end.saturating_sub(bytes.start) as _);
    let _ = posix_fadvise(file, start, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

/// Other Unixes give no such advice.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(super) fn forget_cached(_file: &File, _bytes: Range<u64>) {}

/// Bytes that an ordinary user may still write, where the system says.
#[allow(clippy::unnecessary_wraps, clippy::useless_conversion)] // Windows does not know; the widths differ by system.
pub(super) fn free_bytes(path: &Path) -> io::Result<Option<u64>> {
    let fs = statvfs(path).map_err(io::Error::from)?;
    Ok(Some(u64::from(fs.blocks_available()).saturating_mul(u64::from(fs.fragment_size()))))
}

/// What tells computers of the same name apart, where there is such a thing.
pub(super) fn machine_id() -> Option<String> {
    let id = std::fs::read_to_string("/etc/machine-id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// What kind of disk the folder at `path` is on, where that matters. Linux tells; the numbers are those of statfs(2).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn disk(path: &Path) -> io::Result<Disk> {
    let found = nix::sys::statfs::statfs(path).map_err(io::Error::from)?;
    Ok(match found.filesystem_type().0 as u32 {
        0x6969 => Disk::Network("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Disk::Network("SMB"),
        0x0102_1997 => Disk::Network("9P"),
        0x00c3_6400 => Disk::Network("Ceph"),
        0x5346_414f => Disk::Network("AFS"),
        0x6573_5546 => Disk::Network("FUSE"),
        0x0102_1994 | 0x8584_58f6 => Disk::Memory,
        0x4d44 => Disk::Fat,
        0x794c_7630 => Disk::Container,
        _ => Disk::Ordinary,
    })
}

/// Other Unixes are not asked.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[allow(clippy::unnecessary_wraps)] // Linux can fail here.
pub(super) fn disk(_path: &Path) -> io::Result<Disk> {
    Ok(Disk::Ordinary)
}

/// The permission bits of `path` with the sticky one, and whether it belongs to this user or to root.
pub(super) fn access(path: &Path) -> io::Result<Option<Access>> {
    let found = std::fs::metadata(path)?;
    let trusted = found.uid() == 0 || found.uid() == nix::unistd::geteuid().as_raw();
    Ok(Some(Access { mode: found.permissions().mode() & 0o1777, trusted_owner: trusted }))
}
