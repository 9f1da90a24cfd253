//! A file of another script: what it is by its first bytes, and its SQL as a stream.

use crate::cancel::Cancel;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::ops::Context;
use crate::postgres::{ArchiveHeader, Programs, Search, convert, read_header};
use crate::process::{Running, Stdout, Unhurried};
use chrono::{DateTime, Utc};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Plain,
    Gzip,
    Zstd,
    /// One of pg_dump's own, which pg_restore turns into SQL.
    Archive,
}

/// A file that may become a backup.
pub(super) struct Source {
    path: PathBuf,
    /// Its name without its folder.
    pub(super) name: String,
    /// Its size in bytes.
    pub(super) bytes: u64,
    /// When it was last written to.
    pub(super) modified: DateTime<Utc>,
    format: Format,
    /// Of pg_dump's own archives, what they say, and the programs that read them.
    pub(super) archive: Option<(ArchiveHeader, Programs)>,
}

/// The SQL of a file on its way, and the program that writes it.
pub(super) struct Stream {
    pub(super) reader: Box<dyn Read + Send>,
    pub(super) child: Option<Running>,
}

impl Source {
    /// Looks at the beginning of `path`, and into the header of an archive.
    pub(super) async fn open(ctx: &Context, search: &Search, path: &Path) -> Result<Self> {
        let shown = || format!("cannot read {}", path.display());
        let metadata = std::fs::metadata(path).doing(shown)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let refused = |why: &str, hint: &str| {
            Error::new(ErrorKind::Refused, format!("{} {why}", path.display())).hint(hint.to_owned())
        };
        if metadata.is_dir() {
            let hint = "adopt takes files. If pg_dump -Fd made the folder, write it as SQL first: pg_restore -C -f app.sql FOLDER";
            return Err(refused("is a folder", hint));
        }
        if !metadata.is_file() {
            return Err(refused("is no ordinary file", "it is read twice: write it to a file first"));
        }
        let mut file = File::open(path).doing(shown)?;
        let mut head = Vec::new();
        (&mut file).take(512).read_to_end(&mut head).doing(shown)?;
        if head.is_empty() {
            return Err(refused("is empty", "the script that wrote it failed: take another file"));
        }
        let is_tar = head.get(257..262) == Some(b"ustar");
        let format = match head.as_slice() {
            [0x1f, 0x8b, ..] => Format::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Format::Zstd,
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
                let hint = "PowerShell's > wrote it and may have changed characters: make dumps with pg_dump --file";
                return Err(refused("is UTF-16, which pg_dump does not write", hint));
            }
            [b'P', b'G', b'D', b'M', b'P', ..] => Format::Archive,
            _ if is_tar => {
                check_tar(&mut file, &name)?;
                Format::Archive
            }
            _ => Format::Plain,
        };
        let absolute = std::path::absolute(path).doing(shown)?;
        let archive =
            if format == Format::Archive { Some(read_header(search, &absolute, &ctx.cancel).await?) } else { None };
        let modified = metadata.modified().doing(shown)?.into();
        Ok(Self { path: absolute, name, bytes: metadata.len(), modified, format, archive })
    }

    /// Begins to read its SQL.
    pub(super) async fn stream(&self, cancel: &Cancel) -> Result<Stream> {
        let shown = || format!("cannot read {}", self.path.display());
        let file = || File::open(&self.path).doing(shown).map(|file| Watched { inner: file, cancel: cancel.clone() });
        let reader: Box<dyn Read + Send> = match (&self.archive, self.format) {
            (Some((_, programs)), _) => {
                let mut child = convert(programs, &self.path)?.stdout(Stdout::Pipe).spawn().await?;
                let no_output = || Error::new(ErrorKind::Failed, "pg_restore has no output to read");
                let output = child.stdout.take().ok_or_else(no_output)?;
                let reader = Box::new(Unhurried::new(Watched { inner: output, cancel: cancel.clone() }));
                return Ok(Stream { reader, child: Some(child) });
            }
            (None, Format::Gzip) => Box::new(MultiGzDecoder::new(file()?)),
            (None, Format::Zstd) => Box::new(zstd::stream::read::Decoder::new(file()?).doing(shown)?),
            (None, Format::Plain | Format::Archive) => Box::new(file()?),
        };
        Ok(Stream { reader, child: None })
    }

    /// How many bytes of SQL are to be expected, for the display.
    pub(super) fn expected_sql_bytes(&self) -> u64 {
        if self.format == Format::Plain { self.bytes } else { 0 }
    }

    /// The program's failure that ended the stream, if it failed.
    pub(super) async fn ended(&self, child: Option<Running>, cancel: &Cancel) -> Result<()> {
        let (Some(child), Some((_, programs))) = (child, &self.archive) else { return Ok(()) };
        let status = child.wait(cancel).await?;
        if status.success() { Ok(()) } else { Err(crate::postgres::refusal(programs, &self.path, &status)) }
    }
}

/// pg_restore takes the end of a tar file for the end of whatever it reads: whether all members are there is seen by
/// walking over their headers (POSIX `ustar`).
fn check_tar(file: &mut File, name: &str) -> Result<()> {
    let failed = || format!("cannot read {name}");
    let length = file.seek(SeekFrom::End(0)).doing(failed)?;
    let mut at = 0u64;
    let refused = |why: String| {
        Error::new(ErrorKind::Refused, format!("{name} {why}"))
            .hint("it is damaged or cut off: take an older or newer one")
    };
    loop {
        let mut header = [0u8; 512];
        if at + 512 > length {
            return Err(refused(format!("is cut off: it ends after {length} bytes, before the end of the tar file")));
        }
        file.seek(SeekFrom::Start(at)).doing(failed)?;
        file.read_exact(&mut header).doing(failed)?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        if at == 0 && !header.starts_with(b"toc.dat\0") {
            return Err(Error::new(ErrorKind::Refused, format!("{name} is a tar file that pg_dump did not write"))
                .hint("unpack it and adopt the dumps that are in it"));
        }
        let size = tar_size(&header[124..136]).ok_or_else(|| refused(format!("is damaged at byte {at}")))?;
        let next = size.checked_next_multiple_of(512).and_then(|size| at.checked_add(512)?.checked_add(size));
        at = next.ok_or_else(|| refused(format!("is damaged at byte {at}")))?;
    }
}

/// The size in a tar header: octal digits, or for large files a binary number behind a set first bit.
fn tar_size(field: &[u8]) -> Option<u64> {
    if let [0x80, binary @ ..] = field {
        return binary.iter().try_fold(0u64, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

/// A reader that ends when the run is to be stopped.
struct Watched<R> {
    inner: R,
    cancel: Cancel,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(std::io::Error::other("the run was stopped"));
        }
        self.inner.read(buffer)
    }
}

/// A reader that leaves out byte ranges.
pub(super) struct Cut<R> {
    inner: R,
    at: u64,
    ranges: std::vec::IntoIter<Range<u64>>,
    next: Option<Range<u64>>,
}

impl<R> Cut<R> {
    /// `ranges` are in order.
    pub(super) fn new(inner: R, ranges: Vec<Range<u64>>) -> Self {
        let mut ranges = ranges.into_iter();
        let next = ranges.next();
        Self { inner, at: 0, ranges, next }
    }
}

impl<R: Read> Read for Cut<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let inside = self.next.as_ref().is_some_and(|range| self.at >= range.start);
            let boundary = match &self.next {
                Some(range) if inside => range.end,
                Some(range) => range.start,
                None => u64::MAX,
            };
            let room = usize::try_from(boundary - self.at).unwrap_or(usize::MAX).min(buffer.len());
            let read = if room == 0 { 0 } else { self.inner.read(&mut buffer[..room])? };
            self.at += read as u64;
            if inside && self.at >= boundary {
                self.next = self.ranges.next();
            }
            if !(inside && (read > 0 || room == 0)) {
                return Ok(read);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_left_out_whatever_the_size_of_the_pieces() {
        let text = b"0123456789";
        for (ranges, expected) in [
            (vec![], "0123456789"),
            (vec![0..2, 2..3, 5..5, 9..10], "345678"),
            (vec![0..4, 4..10], ""),
            (vec![4..5, 5..6], "01236789"),
        ] {
            for size in [1, 3, 64] {
                let mut cut = Cut::new(&text[..], ranges.clone());
                let mut found = Vec::new();
                let mut buffer = vec![0; size];
                while let Ok(read @ 1..) = cut.read(&mut buffer) {
                    found.extend_from_slice(&buffer[..read]);
                }
                assert_eq!(String::from_utf8(found).unwrap(), expected, "{ranges:?} {size}");
            }
        }
    }

    #[test]
    fn sizes_in_tar_headers_are_read() {
        assert_eq!(tar_size(b"00000060000 "), Some(24576));
        assert_eq!(tar_size(&[0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]), Some(1 << 32));
        assert_eq!(tar_size(b"not octal  \0"), None);
    }
}
