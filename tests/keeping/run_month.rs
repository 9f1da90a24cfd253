//! `pgkeep run` for months in seconds: the real loop, a clock that follows tokio's, and work that takes random times, fails,
//! finds its database away, and is stopped or killed half-way (faults 30, 34, 35).

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use pgkeep::cancel::{Cancel, Cause};
use pgkeep::catalogue::DrillResult;
use pgkeep::clock::Clock;
use pgkeep::config::{Config, DrillLevel, JobConfig};
use pgkeep::error::{Error, ErrorKind, Result};
use pgkeep::schedule::{Crontab, Daemon, Drilled, Facts, Listener, News, Runner, Service, Surroundings, Taken, What};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// SplitMix64: as random as this needs, and the same again for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

/// The time of day, as far as tokio's time has come, and as somebody set it.
struct Wall {
    base: DateTime<Utc>,
    since: Instant,
    set: Mutex<TimeDelta>,
}

impl Wall {
    fn new(base: &str) -> Self {
        Self { base: base.parse().unwrap(), since: Instant::now(), set: Mutex::new(TimeDelta::zero()) }
    }

    fn set(&self, by: TimeDelta) {
        *self.set.lock().unwrap() += by;
    }
}

impl Clock for Wall {
    fn now(&self) -> DateTime<Utc> {
        let passed = TimeDelta::seconds(self.since.elapsed().as_secs() as i64);
        self.base + passed + *self.set.lock().unwrap()
    }
}

/// One piece of work.
#[derive(Debug)]
struct Ran {
    job: String,
    what: What,
    slot: DateTime<Utc>,
    from: DateTime<Utc>,
    /// `None` while it runs.
    to: Option<DateTime<Utc>>,
    done: bool,
}

/// What the world holds, and what went on in it.
#[derive(Default)]
struct World {
    catalogue: BTreeMap<String, Vec<Taken>>,
    runs: Vec<Ran>,
    at_work: Vec<String>,
    most_at_work: usize,
    /// The database is away until then.
    away_until: Option<DateTime<Utc>>,
    outages: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    failed: BTreeMap<(String, What, DateTime<Utc>), u32>,
    news: Vec<(DateTime<Utc>, String)>,
}

/// Does nothing but take its time; what it did stands in the world.
struct Pretender {
    wall: Arc<Wall>,
    world: Arc<Mutex<World>>,
    random: Mutex<Random>,
    cancel: Cancel,
    /// The longest time that a backup takes, in seconds.
    longest: u64,
}

/// Takes notice when work ends, also when it is dropped half-way, as by a kill.
struct AtWork<'p>(&'p Pretender, String, usize);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let now = self.0.wall.now();
        let mut world = self.0.world.lock().unwrap();
        world.at_work.retain(|job| *job != self.1);
        world.runs[self.2].to = Some(now);
    }
}

impl Pretender {
    async fn work(&self, job: &str, what: What, slot: DateTime<Utc>) -> Result<()> {
        let from = self.wall.now();
        let at_work = {
            let mut world = self.world.lock().unwrap();
            assert!(!world.at_work.iter().any(|other| other == job), "{job} overlaps itself at {from}");
            world.at_work.push(job.to_owned());
            world.most_at_work = world.most_at_work.max(world.at_work.len());
            world.runs.push(Ran { job: job.to_owned(), what, slot, from, to: None, done: false });
            AtWork(self, job.to_owned(), world.runs.len() - 1)
        };
        let (seconds, fails) = {
            let mut random = self.random.lock().unwrap();
            let long = if random.one_in(20) { self.longest } else { self.longest / 10 };
            (1 + random.below(long), random.one_in(6))
        };
        tokio::select! {
            () = self.cancel.cancelled() => return Err(self.cancel.error()),
            () = sleep(Duration::from_secs(seconds)) => {}
        }
        let now = self.wall.now();
        let mut world = self.world.lock().unwrap();
        if world.away_until.is_some_and(|until| now < until) {
            return Err(Error::new(ErrorKind::Unavailable, "the database is away"));
        }
        // Each slot fails twice at most by itself.
        let failed = world.failed.entry((job.to_owned(), what, slot)).or_default();
        if fails && *failed < 2 {
            *failed += 1;
            return Err(Error::new(ErrorKind::Failed, "it just failed"));
        }
        let taken = world.catalogue.entry(job.to_owned()).or_default();
        match what {
            What::Backup => taken.push(Taken {
                id: format!("{job}-{from}"),
                database: "shop".to_owned(),
                started_at: from,
                scheduled_for: Some(slot),
                damaged: false,
                drilled: None,
                places: vec!["office".to_owned()],
                missing: Vec::new(),
            }),
            What::Drill => {
                let newest = taken.last_mut().expect("something to drill");
                newest.drilled = Some(Drilled {
                    started_at: from,
                    finished_at: now,
                    result: DrillResult::Passed,
                    level: DrillLevel::Prove,
                    reason: None,
                });
            }
        }
        world.runs[at_work.2].done = true;
        drop(world);
        drop(at_work);
        Ok(())
    }
}

#[async_trait]
impl Runner for Pretender {
    async fn look(&self, _config: &Arc<Config>, job: &JobConfig) -> Result<Facts> {
        sleep(Duration::from_millis(200)).await;
        let taken = self.world.lock().unwrap().catalogue.get(&job.name).cloned().unwrap_or_default();
        Ok(Facts { taken, complete: true })
    }

    async fn backup(&self, _: &Arc<Config>, job: &JobConfig, slot: DateTime<Utc>, _: &Facts) -> Result<()> {
        self.work(&job.name, What::Backup, slot).await
    }

    async fn drill(&self, _: &Arc<Config>, job: &JobConfig, slot: DateTime<Utc>, _: &Facts) -> Result<()> {
        self.work(&job.name, What::Drill, slot).await
    }
}

struct Notes {
    wall: Arc<Wall>,
    world: Arc<Mutex<World>>,
}

impl Listener for Notes {
    fn tell(&self, job: Option<&str>, news: &News<'_>) {
        let now = self.wall.now();
        self.world.lock().unwrap().news.push((now, format!("{} {news:?}", job.unwrap_or_default())));
    }
}

/// A machine with a configuration, on which the scheduler is started and stopped.
struct Machine {
    wall: Arc<Wall>,
    world: Arc<Mutex<World>>,
    config: Config,
    state: tempfile::TempDir,
    random: Random,
    longest: u64,
}

struct Started {
    task: JoinHandle<Option<Error>>,
    cancel: Cancel,
    reload: mpsc::Sender<()>,
}

impl Machine {
    fn new(base: &str, jobs: &str, seed: u64, longest: u64) -> Self {
        let folder = crate::support::temp_dir();
        let file = folder.path().join("pgkeep.toml");
        std::fs::write(&file, format!("{jobs}\n[destination.office]\ntype = 'folder'\npath = 'office'\n")).unwrap();
        let config = Config::read(&file).unwrap();
        println!("seed {seed}");
        Self {
            wall: Arc::new(Wall::new(base)),
            world: Arc::default(),
            config,
            state: folder,
            random: Random(seed),
            longest,
        }
    }

    fn start(&mut self) -> Started {
        let cancel = Cancel::new();
        let (reload, receiver) = mpsc::channel(1);
        let runner = Pretender {
            wall: Arc::clone(&self.wall),
            world: Arc::clone(&self.world),
            random: Mutex::new(Random(self.random.next())),
            cancel: cancel.clone(),
            longest: self.longest,
        };
        let config = self.config.clone();
        let around = Surroundings {
            runner: Arc::new(runner),
            clock: Arc::clone(&self.wall) as Arc<dyn Clock>,
            listener: Arc::new(Notes { wall: Arc::clone(&self.wall), world: Arc::clone(&self.world) }),
            cancel: cancel.clone(),
            state_dir: self.state.path().to_owned(),
            service: Service::default(),
            load: Box::new(move || Ok(config.clone())),
            reload: receiver,
        };
        let daemon = Daemon::new(self.config.clone(), around).unwrap();
        Started { task: tokio::spawn(daemon.run()), cancel, reload }
    }

    /// Sleeps for so long; now and then the database goes away and comes back.
    async fn live(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            sleep(Duration::from_secs(600).min(end - Instant::now())).await;
            if self.random.one_in(300) {
                let now = self.wall.now();
                let until = now + TimeDelta::minutes(5 + self.random.below(200) as i64);
                let mut world = self.world.lock().unwrap();
                world.away_until = Some(until);
                world.outages.push((now, until));
            }
        }
    }

    fn slots(&self, job: &str, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let schedule = self.config.jobs[job].schedule.clone().unwrap();
        let crontab = Crontab::new(&schedule, self.config.timezone).unwrap();
        std::iter::successors(crontab.next_after(from), |slot| crontab.next_after(*slot))
            .take_while(|slot| *slot < to)
            .collect()
    }

    /// Every slot has one backup at most; returns how many backups each slot has that has any.
    fn each_slot_once(&self) -> BTreeMap<(String, DateTime<Utc>), usize> {
        let world = self.world.lock().unwrap();
        let mut counts = BTreeMap::new();
        for (job, all) in &world.catalogue {
            for taken in all {
                *counts.entry((job.clone(), taken.scheduled_for.unwrap())).or_insert(0) += 1;
            }
        }
        let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
        assert!(world.most_at_work <= self.config.run.concurrent_jobs as usize, "{} at once", world.most_at_work);
        counts
    }
}

const JOBS: &str = "
timezone = 'America/New_York'
[run]
concurrent_jobs = 3
[job.nightly]
destinations = ['office']
schedule = '30 1 * * *'
drill = { schedule = '0 4 * * 0' }
[job.spring]
destinations = ['office']
schedule = '30 2 * * *'
[job.hourly]
destinations = ['office']
schedule = '30 * * * *'
jitter = '10m'
[job.often]
destinations = ['office']
schedule = '@every 20m'
[job.monthly]
destinations = ['office']
schedule = '0 3 1 * *'
";

/// A month over a change of the clock, with failures, outages, stops and kills: every slot at most once, and exactly once
/// if there was time for it.
async fn a_month(base: &str, seed: u64) {
    let mut machine = Machine::new(base, JOBS, seed, 2400);
    let (begin, mut down) = (machine.wall.now(), Vec::new());
    while machine.wall.now() < begin + TimeDelta::days(31) {
        let started = machine.start();
        let up = Duration::from_secs(600 + machine.random.below(3 * 86_400));
        machine.live(up).await;
        let from = machine.wall.now();
        if machine.random.one_in(2) {
            started.cancel.cancel(Cause::Terminate);
            started.task.await.unwrap();
        } else {
            started.task.abort();
            assert!(started.task.await.unwrap_err().is_cancelled());
            // Its work goes with it as soon as the runtime gets to it.
            sleep(Duration::from_millis(1)).await;
        }
        assert!(machine.world.lock().unwrap().at_work.is_empty(), "work goes on after the end");
        let pause = if machine.random.one_in(4) { 30_000 } else { 300 };
        sleep(Duration::from_secs(machine.random.below(pause))).await;
        down.push((from, machine.wall.now()));
    }
    let end = down.last().unwrap().0;
    let counts = machine.each_slot_once();
    let world = machine.world.lock().unwrap();
    let mut certain = 0;
    for job in machine.config.jobs.keys() {
        let slots = machine.slots(job, begin, end);
        for (slot, next) in slots.iter().zip(slots.iter().skip(1)) {
            // Quiet: up all the time, nothing away, and the work of an earlier slot over when this one came.
            let meets = |(from, to): &(DateTime<Utc>, DateTime<Utc>)| from < next && slot < to;
            let busy = world.runs.iter().filter(|ran| ran.job == *job).any(|ran| {
                let to = ran.to.unwrap_or(end);
                // One that takes longer than its interval may be stopped after it.
                if ran.slot == *slot { to > *next } else { meets(&(ran.from, to)) }
            });
            // Its own attempts may fail twice, and take their time.
            let failed = world.failed.get(&(job.clone(), What::Backup, *slot)).copied().unwrap_or(0);
            let enough = *next - *slot > TimeDelta::hours(3) || failed == 0;
            if down.iter().chain(&world.outages).any(meets) || busy || !enough {
                continue;
            }
            certain += 1;
            let story: Vec<_> =
                world.news.iter().filter(|(at, _)| slot <= at && *at <= *next + TimeDelta::hours(1)).collect();
            assert_eq!(counts.get(&(job.clone(), *slot)), Some(&1), "{job}, slot {slot}, next {next}: {story:#?}");
        }
        // A long way without any means that something was forgotten for good.
        let longest = slots.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(TimeDelta::days(31));
        let taken = &world.catalogue[job];
        for pair in taken.windows(2) {
            let gap = pair[1].started_at - pair[0].started_at;
            assert!(gap < longest * 2 + TimeDelta::hours(24), "{job} had none for {gap} from {}", pair[0].started_at);
        }
    }
    assert!(certain > 1000, "only {certain} slots had a quiet interval");
    let told = |what: &str| world.news.iter().filter(|(_, news)| news.contains(what)).count();
    let happened = ["Skipped", "Again(2)", "Missed"].map(told);
    assert!(happened[0] > 3 && happened[1] > 50 && happened[2] > 3, "too little happened: {happened:?}");
    assert!(told("why: First") >= machine.config.jobs.len());
    let drills: Vec<_> = world.runs.iter().filter(|ran| ran.what == What::Drill && ran.done).collect();
    assert!((3..=5).contains(&drills.len()), "{drills:?}");
}

#[tokio::test(start_paused = true)]
async fn a_month_in_which_clocks_go_back() {
    a_month("2026-10-14T12:34:56Z", seed()).await;
}

#[tokio::test(start_paused = true)]
async fn a_month_in_which_clocks_go_forward() {
    a_month("2026-02-20T12:34:56Z", seed()).await;
}

/// Given by `PGKEEP_TEST_SEED`, else by the clock; it is printed when the test fails.
fn seed() -> u64 {
    let given = std::env::var("PGKEEP_TEST_SEED").ok().map(|seed| seed.parse().expect("PGKEEP_TEST_SEED"));
    given.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64)
}

const NIGHTLY: &str = "[job.shop]\ndestinations = ['office']\nschedule = '0 2 * * *'\n";

fn slots_taken(machine: &Machine) -> Vec<String> {
    let world = machine.world.lock().unwrap();
    let slots = world.catalogue.get("shop").into_iter().flatten();
    slots.map(|taken| taken.scheduled_for.unwrap().format("%m-%d %H:%M").to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_is_caught_up_once_after_being_off_asleep_or_set() {
    let mut machine = Machine::new("2026-11-22T12:00:00Z", NIGHTLY, 1, 10);
    let started = machine.start();
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(slots_taken(&machine), ["11-22 02:00"], "the first one at once");
    started.cancel.cancel(Cause::Terminate);
    assert!(started.task.await.unwrap().is_none(), "nothing was at work");
    // Off for three days and nights: one backup, for the last of them.
    sleep(Duration::from_secs(3 * 86_400)).await;
    let started = machine.start();
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(slots_taken(&machine), ["11-22 02:00", "11-25 02:00"]);
    // Asleep: time stands still for the process, and the clock does not.
    machine.wall.set(TimeDelta::hours(30));
    sleep(Duration::from_secs(600)).await;
    assert_eq!(slots_taken(&machine), ["11-22 02:00", "11-25 02:00", "11-26 02:00"]);
    // Set back by two days: the night that had none gets its backup now, and none gets a second one.
    machine.wall.set(TimeDelta::days(-2));
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(slots_taken(&machine)[3..], ["11-24 02:00"]);
    sleep(Duration::from_secs(3 * 86_400)).await;
    assert_eq!(slots_taken(&machine)[4..], ["11-27 02:00"]);
    // A year ahead by mistake: one backup for it, and after it was set right the nights go on as ever.
    machine.wall.set(TimeDelta::days(365));
    sleep(Duration::from_secs(3600)).await;
    machine.wall.set(TimeDelta::days(-365));
    sleep(Duration::from_secs(3 * 86_400)).await;
    let taken = slots_taken(&machine);
    assert_eq!(taken[5..], ["11-27 02:00", "11-28 02:00", "11-29 02:00", "11-30 02:00"]);
    let world = machine.world.lock().unwrap();
    let told = |what: &str| world.news.iter().filter(|(_, news)| news.contains(what)).count();
    assert_eq!(told("ClockMoved"), 4, "{:#?}", world.news);
    drop(started);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_comes_during_the_one_before_is_skipped_and_said_and_nothing_drifts() {
    let often = "[job.shop]\ndestinations = ['office']\nschedule = '@every 10m'\n";
    let mut machine = Machine::new("2026-11-22T12:00:00Z", often, 7, 9000);
    let started = machine.start();
    sleep(Duration::from_secs(86_400)).await;
    drop(started);
    machine.each_slot_once();
    let world = machine.world.lock().unwrap();
    let skipped = world.news.iter().filter(|(_, news)| news.contains("Skipped")).count();
    let slots = machine.slots("shop", "2026-11-22T11:59:59Z".parse().unwrap(), "2026-11-23T12:00:00Z".parse().unwrap());
    let taken = world.catalogue["shop"].len();
    assert!(skipped >= 10 && taken >= 20, "{skipped} skipped, {taken} taken");
    assert!(world.catalogue["shop"].iter().all(|taken| slots.contains(&taken.scheduled_for.unwrap())));
}

#[tokio::test(start_paused = true)]
async fn a_drill_that_is_due_during_a_backup_waits_and_is_not_skipped() {
    let both = "[job.shop]\ndestinations = ['office']\nschedule = '0 2 * * *'\ndrill = { schedule = '0 2 * * *' }\n";
    let mut machine = Machine::new("2026-11-22T12:00:00Z", both, 3, 3000);
    let started = machine.start();
    sleep(Duration::from_secs(10 * 86_400)).await;
    drop(started);
    let world = machine.world.lock().unwrap();
    let done = |what| world.runs.iter().filter(|ran| ran.what == what && ran.done).count();
    assert_eq!((done(What::Backup), done(What::Drill)), (11, 10), "{:#?}", world.runs);
    assert!(world.news.iter().any(|(_, news)| news.contains("Waits")));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_backup_is_told_by_the_exit_and_due_again_at_once() {
    let mut machine = Machine::new("2026-11-22T12:00:00Z", NIGHTLY, 1, 10_000);
    let started = machine.start();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(machine.world.lock().unwrap().at_work, ["shop"]);
    started.cancel.cancel(Cause::Terminate);
    let stopped = started.task.await.unwrap().expect("an error");
    assert_eq!(stopped.exit_code(), 143);
    let started = machine.start();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(machine.world.lock().unwrap().at_work, ["shop"]);
    drop(started);
}

#[tokio::test(start_paused = true)]
async fn what_is_reloaded_keeps_what_runs_and_repeats_nothing() {
    let mut machine = Machine::new("2026-11-22T12:00:00Z", NIGHTLY, 1, 10);
    let started = machine.start();
    sleep(Duration::from_secs(3600)).await;
    for _ in 0..5 {
        started.reload.send(()).await.unwrap();
        sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(slots_taken(&machine), ["11-22 02:00"]);
    let world = machine.world.lock().unwrap();
    assert_eq!(world.news.iter().filter(|(_, news)| news.contains("Reloaded")).count(), 5);
    drop(started);
}

#[tokio::test(start_paused = true)]
async fn of_a_missed_drill_and_a_missed_backup_the_backup_is_first() {
    let both = "[job.shop]\ndestinations = ['office']\nschedule = '0 2 * * *'\ndrill = { schedule = '0 1 * * *' }\n";
    let mut machine = Machine::new("2026-11-22T12:00:00Z", both, 3, 10);
    let old = Taken {
        id: "old".to_owned(),
        database: "shop".to_owned(),
        started_at: "2026-11-20T02:00:00Z".parse().unwrap(),
        scheduled_for: None,
        damaged: false,
        drilled: None,
        places: vec!["office".to_owned()],
        missing: Vec::new(),
    };
    machine.world.lock().unwrap().catalogue.insert("shop".to_owned(), vec![old]);
    let started = machine.start();
    sleep(Duration::from_secs(3600)).await;
    drop(started);
    let world = machine.world.lock().unwrap();
    assert_eq!(world.runs[0].what, What::Backup, "{:#?}", world.runs);
    assert!(world.runs.iter().any(|ran| ran.what == What::Drill && ran.done), "{:#?}", world.runs);
}
