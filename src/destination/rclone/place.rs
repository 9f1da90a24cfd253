//! A folder at a remote: what rclone does there, one process for each question.
//!
//! Names of files go to rclone on its input wherever it takes them there. That spares a look, and means a file: given as
//! an argument, the name of a folder would mean everything in it.

use super::answers::{About, Entry, Features};
use super::digests::{Sums, Tally};
use super::failure::Failure;
use super::program::{Program, Work};
use crate::config::RcloneConfig;
use crate::destination::{Children, Key, Object};
use crate::error::{Error, ErrorKind, Result};
use crate::process::Stdin;
use bytes::Bytes;
use chrono::Utc;
use std::collections::BTreeSet;
use std::io::Read;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// See the module.
pub(super) struct Place {
    pub(super) program: Program,
    pub(super) features: Features,
    remote: String,
    name: String,
    /// Held while a file is given its name: rclone looks and renames, and two of one process must not do so at once.
    pub(super) naming: tokio::sync::Mutex<()>,
    /// The names that are being written without a hidden one.
    writing: Mutex<BTreeSet<Key>>,
}

/// Which of two files are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct There {
    pub(super) first: bool,
    pub(super) second: bool,
}

impl Place {
    /// Finds rclone, and what it can do at the remote of `config`, which people know as `name`.
    pub(super) async fn open(name: &str, config: &RcloneConfig) -> Result<Self> {
        let program = Program::find(config).await?;
        let remote = config.remote.clone();
        let root = remote.split(':').next().unwrap_or_default().to_owned();
        let place = format!("{root}:");
        let (status, stdout) = program.ask(Work::Brief, &["backend", "features"], Stdin::Null, &[&place]).await?;
        if !status.success() {
            let failure = Failure::of(&status);
            let (listed, remotes) = program.ask(Work::Brief, &["listremotes"], Stdin::Null, &[]).await?;
            if listed.success() && !String::from_utf8_lossy(&remotes).lines().any(|line| line.trim() == place) {
                return Err(Error::new(ErrorKind::Config, format!("rclone has no remote {root:?}")).hint(format!(
                    "make it with `rclone config`, as the user that runs pgkeep; `rclone listremotes` must show {place}"
                )));
            }
            return Err(failure.error(format!("rclone cannot use its remote {root:?}")));
        }
        let features = Features::parse(&stdout)?;
        Ok(Self {
            program,
            features,
            remote,
            name: name.to_owned(),
            naming: tokio::sync::Mutex::default(),
            writing: Mutex::default(),
        })
    }

    /// The names that are being written without a hidden one.
    pub(super) fn writing(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `REMOTE:FOLDER`, the root.
    pub(super) fn root(&self) -> &str {
        &self.remote
    }

    /// How rclone calls `key`; `None` is the root.
    pub(super) fn place(&self, key: Option<&Key>) -> String {
        match key {
            None => self.remote.clone(),
            Some(key) if self.remote.ends_with([':', '/']) => format!("{}{key}", self.remote),
            Some(key) => format!("{}/{key}", self.remote),
        }
    }

    /// Whether the root is there.
    pub(super) async fn root_exists(&self) -> Result<bool> {
        match self.stat(self.root(), None).await {
            Ok(entry) if entry.is_dir => Ok(true),
            Ok(_) => Err(Error::new(ErrorKind::Failed, format!("{} is a file, not a folder", self.remote))
                .hint("name a folder in the destination's `remote`")),
            Err(failure) if failure.kind() == ErrorKind::NotFound => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Makes the root.
    pub(super) async fn make_root(&self) -> Result<()> {
        let (status, _) = self.program.ask(Work::Brief, &["mkdir"], Stdin::Null, &[self.root()]).await?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::of(&status).error(format!("cannot make the folder {}", self.remote)))
    }

    async fn stat(&self, place: &str, hash: Option<&str>) -> Result<Entry> {
        let mut command = vec!["lsjson", "--stat", "--no-mimetype"];
        if let Some(hash) = hash {
            command.extend(["--hash", "--hash-type", hash]);
        }
        let work = if hash.is_some() { Work::Lengthy } else { Work::Brief };
        let (status, stdout) = self.program.ask(work, &command, Stdin::Null, &[place]).await?;
        if !status.success() {
            return Err(Failure::of(&status).error(format!("cannot look at {place}")));
        }
        Entry::parse(&stdout)
    }

    /// What is known of the file `key`, or `NotFound`; folders are not there.
    async fn file(&self, key: &Key, hash: Option<&str>) -> Result<Entry> {
        match self.stat(&self.place(Some(key)), hash).await {
            Ok(entry) if !entry.is_dir => Ok(entry),
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Err(self.missing(key)),
        }
    }

    fn missing(&self, key: &Key) -> Error {
        Error::new(ErrorKind::NotFound, format!("{key} is not at {}", self.name))
    }

    /// See [`crate::destination::Destination::head`].
    pub(super) async fn head(&self, key: &Key) -> Result<Object> {
        self.file(key, None).await?.object(key.clone(), Utc::now())
    }

    /// See [`crate::destination::Destination::read`].
    pub(super) async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        let length = range.end.saturating_sub(range.start);
        // rclone counts in signed numbers; no file is that long.
        if length == 0 || i64::try_from(range.end).is_err() {
            return self.short(key, &range).await?.map_or_else(|| Ok(Bytes::new()), Err);
        }
        let (offset, count) = (format!("--offset={}", range.start), format!("--count={length}"));
        let take = move |reader: &mut dyn Read| {
            let mut bytes = Vec::new();
            reader.take(length + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let (folder, names) = self.named([key]);
        let command = ["cat", &offset, &count, "--files-from-raw=-"];
        let (status, bytes) = self.program.stream(Work::Brief, &command, names, &[&folder], take).await?;
        if status.success() && bytes.len() as u64 == length {
            return Ok(bytes.into());
        }
        let failure = Failure::of(&status);
        if failure.kind != ErrorKind::Unavailable
            && let Some(short) = self.short(key, &range).await?
        {
            return Err(short);
        }
        if status.success() {
            let got = bytes.len();
            let short = format!("{key} gave {got} bytes where {length} were asked for");
            return Err(Error::new(ErrorKind::Unavailable, short));
        }
        Err(failure.error(format!("cannot read {key} at {}", self.name)))
    }

    /// The error for a range that reaches beyond the end of `key`; `NotFound` if it is not there.
    async fn short(&self, key: &Key, range: &Range<u64>) -> Result<Option<Error>> {
        let bytes = self.head(key).await?.bytes;
        Ok((range.end > bytes).then(|| {
            let asked = format!("bytes {} to {} were asked for", range.start, range.end);
            Error::new(ErrorKind::Damaged, format!("{key} at {} holds {bytes} bytes; {asked}", self.name))
        }))
    }

    /// The folder of `keys`, which share it, and their names as `--files-from-raw=-` reads them.
    fn named<'k>(&self, keys: impl IntoIterator<Item = &'k Key>) -> (String, Stdin) {
        let mut folder = self.remote.clone();
        let mut names = String::new();
        for key in keys {
            folder = self.place(key.parent().as_ref());
            names.push_str(key.file_name());
            names.push('\n');
        }
        (folder, Stdin::Bytes(names.into_bytes()))
    }

    /// Which of two files of one folder are there.
    pub(super) async fn look(&self, first: &Key, second: &Key) -> Result<There> {
        let (folder, names) = self.named([first, second]);
        let command = ["lsjson", "--files-only", "--no-mimetype", "--files-from-raw=-"];
        let (status, stdout) = self.program.ask(Work::Brief, &command, names, &[&folder]).await?;
        let failure = Failure::of(&status);
        if !status.success() && failure.kind != ErrorKind::NotFound {
            return Err(failure.error(format!("cannot look at {folder}")));
        }
        let entries = if status.success() { Entry::parse_all(&stdout)? } else { Vec::new() };
        let there = |key: &Key| entries.iter().any(|entry| entry.path == key.file_name());
        Ok(There { first: there(first), second: there(second) })
    }

    /// See [`crate::destination::Destination::list`].
    pub(super) async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>> {
        Ok(self.ask_for_a_list(prefix, &["lsjson", "-R", "--files-only", "--no-mimetype"]).await?.objects)
    }

    /// See [`crate::destination::Destination::children`].
    pub(super) async fn children(&self, folder: Option<&Key>) -> Result<Children> {
        self.ask_for_a_list(folder, &["lsjson", "--no-mimetype"]).await
    }

    async fn ask_for_a_list(&self, prefix: Option<&Key>, command: &[&str]) -> Result<Children> {
        let folder = self.place(prefix);
        let (status, stdout) = self.program.ask(Work::Brief, command, Stdin::Null, &[&folder]).await?;
        let cannot = format!("cannot list {folder}");
        if !status.success() {
            let failure = Failure::of(&status);
            // Not the folder itself, perhaps, but one in it, which went while it was listed.
            return match (failure.kind, prefix) {
                (ErrorKind::NotFound, Some(_)) => match self.stat(&folder, None).await {
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(Children::default()),
                    Err(error) => Err(error),
                    Ok(entry) if entry.is_dir => Err(failure.error(cannot).with_kind(ErrorKind::Unavailable)),
                    Ok(_) => Ok(Children::default()),
                },
                _ => Err(failure.error(cannot)),
            };
        }
        let entries = Entry::parse_all(&stdout)?;
        // Of a file rclone lists the file itself, as it would list a folder that holds a file of its name alone.
        if let (Some(prefix), [only]) = (prefix, entries.as_slice())
            && only.path == prefix.file_name()
            && !self.stat(&folder, None).await?.is_dir
        {
            return Ok(Children::default());
        }
        let now = Utc::now();
        let mut found = Children::default();
        for entry in entries.iter().filter(|entry| entry.is_dir || entry.size >= 0) {
            // What no key can name, and what has no size, is nothing of pgkeep's.
            let Ok(relative) = entry.path.parse::<Key>() else { continue };
            let key = prefix.map_or_else(|| relative.clone(), |prefix| prefix.child(&relative));
            if entry.is_dir {
                found.folders.push(key);
            } else {
                found.objects.push(entry.object(key, now)?);
            }
        }
        Ok(found)
    }

    /// See [`crate::destination::Destination::delete`].
    pub(super) async fn delete(&self, key: &Key) -> Result<()> {
        let place = self.place(Some(key));
        let (status, _) = self.program.ask(Work::Brief, &["deletefile"], Stdin::Null, &[&place]).await?;
        if !status.success() {
            let failure = Failure::of(&status);
            // Versions differ in how they say that there was nothing.
            let gone = failure.kind == ErrorKind::NotFound
                || (failure.kind != ErrorKind::Unavailable
                    && self.head(key).await.is_err_and(|error| error.kind() == ErrorKind::NotFound));
            if !gone {
                return Err(failure.error(format!("cannot delete {key} at {}", self.name)));
            }
        }
        self.remove_empty_folders(key.parent()).await
    }

    /// Removes `folder` and those above it, below the root, as far as they are empty.
    async fn remove_empty_folders(&self, mut folder: Option<Key>) -> Result<()> {
        while let Some(key) = folder.filter(|_| self.features.has_folders()) {
            let (status, _) =
                self.program.ask(Work::Brief, &["rmdir"], Stdin::Null, &[&self.place(Some(&key))]).await?;
            if !status.success() {
                let failure = Failure::of(&status);
                match failure.kind {
                    ErrorKind::NotFound => {}
                    ErrorKind::Unavailable => return Err(failure.error(format!("cannot remove the folder {key}"))),
                    // It is not empty, which every remote says in its own words. Were it something else, an empty folder
                    // would stay, and that does no harm.
                    _ => return Ok(()),
                }
            }
            folder = key.parent();
        }
        Ok(())
    }

    /// Compares what is stored as `key` with what was sent: by the remote's own hash, or else by reading it back.
    pub(super) async fn verify(&self, key: &Key, sums: &Sums) -> Result<()> {
        let differs = |what: &str, theirs: &str, ours: &str| {
            let differ = format!("{key} at {} has {what} {theirs} after the upload, not {ours}", self.name);
            Error::new(ErrorKind::Damaged, differ).hint("the remote changed what it was given; do not rely on it")
        };
        let kind = sums.hash.as_ref().map(|(kind, _)| kind.name());
        let entry = self.file(key, kind).await?;
        let bytes = entry.object(key.clone(), Utc::now())?.bytes;
        if bytes != sums.stored.bytes {
            return Err(differs("a size of", &bytes.to_string(), &sums.stored.bytes.to_string()));
        }
        if let Some((kind, ours)) = &sums.hash
            && let Some(theirs) = entry.hash(*kind)
        {
            return if theirs == *ours { Ok(()) } else { Err(differs(kind.name(), &theirs, ours)) };
        }
        let read = self.digest(key).await?;
        if read.stored == sums.stored {
            return Ok(());
        }
        Err(differs("the SHA-256", &read.stored.sha256, &sums.stored.sha256))
    }

    /// Reads `key` to its end.
    async fn digest(&self, key: &Key) -> Result<Sums> {
        let take = |reader: &mut dyn Read| {
            let mut tally = Tally::new(None);
            let mut buffer = vec![0; 256 << 10];
            loop {
                match reader.read(&mut buffer)? {
                    0 => return Ok(tally.sums()),
                    read => tally.add(buffer.get(..read).unwrap_or_default()),
                }
            }
        };
        let (folder, names) = self.named([key]);
        let command = ["cat", "--files-from-raw=-"];
        let (status, sums) = self.program.stream(Work::Brief, &command, names, &[&folder], take).await?;
        if status.success() {
            return Ok(sums);
        }
        Err(Failure::of(&status).error(format!("cannot read {key} back from {}", self.name)))
    }

    /// Gives the file `from` the free name `to` in the same folder, within the remote. What has that name stays, and then
    /// `from` stays too.
    pub(super) async fn rename(&self, from: &Key, to: &Key) -> Result<()> {
        let (from, to) = (self.place(Some(from)), self.place(Some(to)));
        let command = ["moveto", "--ignore-existing"];
        let (status, _) = self.program.ask(Work::Lengthy, &command, Stdin::Null, &[&from, &to]).await?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::of(&status).error(format!("cannot rename {from} to {to}")))
    }

    /// The space at the remote, as far as it is known.
    pub(super) async fn about(&self) -> Result<About> {
        let (status, stdout) = self.program.ask(Work::Brief, &["about", "--json"], Stdin::Null, &[self.root()]).await?;
        if !status.success() {
            return Err(Failure::of(&status).error(format!("cannot ask for the space at {}", self.name)));
        }
        About::parse(&stdout)
    }
}
