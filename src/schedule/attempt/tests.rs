//! Attempts with a catalogue that cannot be read, or has changed since the slot came.

use super::*;
use crate::clock::FixedClock;
use crate::schedule::facts::tests::{at, taken};
use std::sync::Mutex;

const SLOT: &str = "2026-11-22T02:00:00Z";
const NOW: &str = "2026-11-22T02:00:01Z";

/// Answers a look with its facts or with an error of this kind, and notes what it is asked to do and what is told.
struct Scripted {
    facts: std::result::Result<Facts, ErrorKind>,
    notes: Mutex<Vec<String>>,
}

#[async_trait]
impl Runner for Scripted {
    async fn look(&self, _: &Arc<Config>, _: &JobConfig) -> Result<Facts> {
        self.facts.clone().map_err(|kind| Error::new(kind, "away"))
    }

    async fn backup(&self, _: &Arc<Config>, _: &JobConfig, _: DateTime<Utc>, facts: &Facts) -> Result<()> {
        assert!(!facts.complete);
        self.notes.lock().unwrap().push("backup".to_owned());
        Ok(())
    }

    async fn drill(&self, _: &Arc<Config>, _: &JobConfig, _: DateTime<Utc>, _: &Facts) -> Result<()> {
        self.notes.lock().unwrap().push("drill".to_owned());
        Ok(())
    }
}

impl Listener for Scripted {
    fn tell(&self, _: Option<&str>, news: &News<'_>) {
        let note = match news {
            News::Warning(warning) => format!("warning: {warning}"),
            News::Started { why, .. } => format!("{why:?}"),
            News::NothingToDrill { .. } => "nothing to drill".to_owned(),
            other => panic!("{other:?}"),
        };
        self.notes.lock().unwrap().push(note);
    }
}

async fn attempted(facts: std::result::Result<Facts, ErrorKind>, what: What, track: Track) -> (Ended, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pgkeep.toml");
    let text = "[destination.office]\ntype = 'folder'\npath = 'office'\n[job.shop]\ndestinations = ['office']\n";
    std::fs::write(&file, text).unwrap();
    let config = Config::read(&file).unwrap();
    let runner = Arc::new(Scripted { facts, notes: Mutex::default() });
    let attempt = Attempt {
        runner: Arc::clone(&runner),
        listener: Arc::clone(&runner) as Arc<dyn Listener>,
        clock: Arc::new(FixedClock(at(NOW))),
        job: config.jobs["shop"].clone(),
        config: Arc::new(config),
        what,
        slot: at(SLOT),
        since: at(SLOT),
        track,
    };
    let ended = attempt.run().await;
    let notes = runner.notes.lock().unwrap().clone();
    (ended, notes)
}

#[tokio::test]
async fn a_backup_is_taken_also_where_what_is_stored_cannot_be_read_and_a_drill_is_not() {
    let away = || Err(ErrorKind::Unavailable);
    let (ended, notes) = attempted(away(), What::Backup, Track::default()).await;
    assert!(matches!(ended, Ended::Done), "{ended:?}");
    assert_eq!(notes, ["warning: what is stored could not be read: away", "Due", "backup"]);
    let mut done = Track::default();
    done.done(at(SLOT));
    let (ended, notes) = attempted(away(), What::Backup, done).await;
    assert!(matches!(ended, Ended::Done) && !notes.contains(&"backup".to_owned()), "{ended:?} {notes:?}");
    let (ended, notes) = attempted(Err(ErrorKind::Terminated), What::Backup, Track::default()).await;
    assert!(matches!(ended, Ended::Stopped(_)) && notes.is_empty(), "{ended:?} {notes:?}");
    let (ended, notes) = attempted(away(), What::Drill, Track::default()).await;
    assert!(matches!(ended, Ended::Failed(_)) && notes.is_empty(), "{ended:?} {notes:?}");
}

#[tokio::test]
async fn a_drill_that_failed_is_tried_again_with_what_is_left_after_pruning() {
    let facts = || Ok(Facts { taken: vec![taken("shop", "2026-11-22T02:00:01Z", None)], complete: true });
    let (_, notes) = attempted(facts(), What::Drill, Track::default()).await;
    assert_eq!(notes, ["nothing to drill"]);
    let mut failed = Track::default();
    failed.begin(at(SLOT), at(SLOT));
    failed.failed(at(SLOT), at(SLOT), "away".to_owned());
    let (_, notes) = attempted(facts(), What::Drill, failed).await;
    assert_eq!(notes, ["Again(2)", "drill"]);
    let mut begun = Track::default();
    begun.begin(at(SLOT), at(SLOT));
    begun.stopped();
    let (_, notes) = attempted(facts(), What::Drill, begun).await;
    assert_eq!(notes, ["Due", "drill"]);
}
