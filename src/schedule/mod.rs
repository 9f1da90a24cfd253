//! Taking backups and drills when they are due: `pgkeep run`, and telling whether they were: `pgkeep status`.
//!
//! `crontab` answers when a schedule of the configuration is next due, and when it last was; `due` what is to be done now.
//! `facts` is what the catalogue tells of a job, `record` what it cannot tell. `daemon` is the loop, `attempt` one try of one
//! thing, `worker` does the real work. `news` goes to the log, `service` to the service manager. `status` judges.
//!
//! The rules:
//! - A due time (*slot*) is done if every database of the job has a backup whose `scheduled_for` or `started_at` is not
//!   before it; of a drill, if the newest backup's database was drilled since, with the answer passed or failed.
//! - What was missed is caught up once, for the newest slot only: at the start, after sleep, after the clock was set.
//! - What fails is tried again after 1, 5, 15, 30, 60, 60, ... minutes until the next slot comes.
//! - A slot that comes while the one before it is still worked on is skipped. A drill that is due during a backup of the
//!   same job waits for its end, and so does a backup during a drill.

mod attempt;
mod crontab;
mod daemon;
mod due;
mod facts;
mod news;
mod record;
mod service;
mod status;
mod worker;

pub use attempt::Runner;
pub use crontab::Crontab;
pub use daemon::{Daemon, Surroundings};
pub use due::{Next, Timetable, Track, What, next};
pub use facts::{Drilled, Facts, Taken};
pub use news::{Listener, News, Why};
pub use record::Record;
pub use service::Service;
pub use status::{
    DatabaseStatus, Failure, JobStatus, Problem, ProblemKind, StatusOutcome, Unreadable, judge, lock_scheduler, status,
};
pub use worker::Worker;
