//! The sample database of `pgkeep demo`: a spa's bookings on a throwaway server, and a way to damage a backup of it.

use super::Context;
use crate::catalogue::{FileKind, Manifest};
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::event::{Event, Phase};
use crate::postgres::programs::find_newest_server;
use crate::postgres::{Client, Cluster, ClusterOptions, Connection};
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The statements that make the sample database.
const SAMPLE: &str = include_str!("demo.sql");

/// The name of the sample database.
const DATABASE: &str = "zenzspa";

/// A throwaway server with the sample database.
pub struct Demo {
    cluster: Cluster,
    version: String,
}

impl Demo {
    /// Starts the newest PostgreSQL there is and loads the sample database.
    pub async fn start(ctx: &Context) -> Result<Self> {
        ctx.tell(&Event::Started { what: "demo", subject: "a throwaway PostgreSQL with a sample database".to_owned() });
        ctx.phase(Phase::Prepare, 0);
        let programs = find_newest_server(&ctx.search(None))?;
        let options = ClusterOptions {
            superuser: "postgres".to_owned(),
            temp: ctx.config.temp_dir.clone(),
            settings: Vec::new(),
        };
        let version = programs.version.to_string();
        let demo = Self { cluster: Cluster::start(&programs, &options, &ctx.cancel).await?, version };
        let client = Client::new(demo.cluster.connection("postgres"), programs, ctx.temp_dir())?;
        let loaded = async {
            client
                .execute(&format!("create database {DATABASE} template template0 encoding 'UTF8';"), &ctx.cancel)
                .await?;
            ctx.phase(Phase::Load, 0);
            client.with_database(DATABASE).execute(SAMPLE, &ctx.cancel).await
        };
        if let Err(error) = loaded.await {
            demo.stop().await?;
            return Err(error);
        }
        ctx.tell(&Event::Finished);
        Ok(demo)
    }

    /// The connection to the sample database.
    pub fn connection(&self) -> Connection {
        self.cluster.connection(DATABASE)
    }

    /// The server's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Stops the server and removes it.
    pub async fn stop(self) -> Result<()> {
        self.cluster.stop().await
    }
}

/// Copies the backup of `manifest` from the destination folder `from` to the new one `to`, and changes one byte in the
/// middle of the copied archive. Returns the place of the byte in the archive.
pub fn damage_copy(manifest: &Manifest, from: &Path, to: &Path) -> Result<u64> {
    let dir = manifest.dir();
    let (source, target) = (from.join(dir.as_str()), to.join(dir.as_str()));
    fs::create_dir_all(&target).doing(|| format!("cannot create {}", target.display()))?;
    let names = manifest.files.iter().map(|file| file.name.as_str()).chain(["manifest.json"]);
    for name in names {
        fs::copy(source.join(name), target.join(name)).doing(|| format!("cannot copy {name}"))?;
    }
    let no_data = || Error::new(ErrorKind::NotFound, format!("{dir} has no archive"));
    let data = manifest.files_of(FileKind::Data).next().ok_or_else(no_data)?;
    let path = target.join(data.name.as_str());
    let place = data.bytes / 2;
    let flip = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
        let mut byte = [0];
        file.seek(SeekFrom::Start(place))?;
        file.read_exact(&mut byte)?;
        file.seek(SeekFrom::Start(place))?;
        file.write_all(&[byte[0] ^ 0x10])?;
        file.sync_all()
    };
    flip().doing(|| format!("cannot change {}", path.display()))?;
    Ok(place)
}
