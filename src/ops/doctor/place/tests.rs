//! Each operation that fails is told, and nothing is left.

use super::*;
use crate::cancel::{Cancel, Cause};
use crate::clock::{FixedClock, SystemClock};
use crate::config::Config;
use crate::destination::{Effect, Fault, Faulty, Memory, Operation};
use crate::event::Silent;

fn context() -> Context {
    Context {
        config: Arc::new(Config::default()),
        clock: Arc::new(SystemClock),
        observer: Arc::new(Silent),
        cancel: Cancel::new(),
    }
}

/// Examines a service in memory with these faults; what was found, and what is left of it.
async fn examined(faults: impl IntoIterator<Item = Fault>) -> (Vec<Finding>, Vec<Key>) {
    let memory = Memory::new("memory");
    let faulty: Arc<dyn Destination> = Arc::new(Faulty::new(Arc::new(memory.destination()), faults));
    let findings = examine(&context(), &faulty).await.findings;
    assert_eq!(memory.open_uploads(), 0);
    (findings, memory.keys())
}

fn bad(findings: &[Finding]) -> Vec<&str> {
    let worse = findings.iter().filter(|finding| finding.verdict >= Verdict::Warning);
    worse.map(|finding| finding.what.as_str()).collect()
}

#[tokio::test]
async fn a_good_destination_is_good_in_everything_and_keeps_nothing() {
    let (findings, left) = examined([]).await;
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good && finding.fix.is_none()), "{findings:#?}");
    let what: Vec<&str> = findings.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(
        what,
        [
            "writable",
            "claims",
            "small writes",
            "uploads",
            "uploads given up",
            "write-once",
            "write-once uploads",
            "clock",
            "listing",
            "reads",
            "reads of uploads",
            "speed",
            "deletes"
        ]
    );
    assert_eq!(left, []);
}

#[tokio::test]
async fn each_operation_that_fails_is_told_with_its_fix_and_leaves_nothing() {
    use Operation::{Abort, Claim, Complete, Delete, Head, List, Put, Read, Release, Sweep, Upload, Write};
    for (operation, what) in [
        (Claim, "claims"),
        (Release, "claims"),
        (Put, "small writes"),
        (Upload, "uploads"),
        (Write, "uploads"),
        (Complete, "uploads"),
        (Abort, "uploads given up"),
        (Read, "reads"),
        (Head, "looking up"),
        (List, "listing"),
        (Delete, "deletes"),
        (Sweep, "sweeping"),
    ] {
        for effect in [Effect::Fails(ErrorKind::PermissionDenied), Effect::LosesTheAnswer(ErrorKind::Failed)] {
            // The first head asks for what must not be there.
            let nth = if operation == Head { 2 } else { 1 };
            let (findings, left) = examined([Fault::new(operation, effect).nth(nth)]).await;
            assert!(bad(&findings).contains(&what), "{operation:?} {effect:?}: {findings:#?}");
            assert!(findings.iter().all(|one| one.verdict < Verdict::Warning || one.fix.is_some()), "{findings:#?}");
            assert!(
                findings
                    .iter()
                    .any(|finding| finding.found.contains("planned fault") && finding.verdict == Verdict::Bad),
                "{findings:#?}"
            );
            assert_eq!(left, [], "{operation:?} {effect:?}");
        }
    }
}

#[tokio::test]
async fn a_failure_keeps_nothing_else_from_being_looked_at() {
    let (findings, _) = examined([Fault::new(Operation::Put, Effect::Fails(ErrorKind::Failed)).lasting()]).await;
    assert_eq!(bad(&findings), ["small writes"], "{findings:#?}");
    for what in ["uploads", "write-once uploads", "listing", "reads of uploads", "deletes"] {
        let finding = findings.iter().find(|finding| finding.what == what).unwrap();
        assert_eq!(finding.verdict, Verdict::Good, "{finding:?}");
    }
}

#[tokio::test]
async fn bytes_that_change_are_told() {
    let (findings, _) = examined([Fault::new(Operation::Read, Effect::Damages).on("database.sql")]).await;
    assert_eq!(bad(&findings), ["reads"]);
    assert!(findings.iter().any(|finding| finding.found == "other bytes are read than were written"));
}

#[tokio::test]
async fn what_cannot_be_removed_is_named() {
    let denied = Effect::Fails(ErrorKind::PermissionDenied);
    let (findings, left) = examined([Fault::new(Operation::Delete, denied).lasting()]).await;
    assert_eq!(bad(&findings), ["deletes", "leftovers"], "{findings:#?}");
    let leftovers = findings.last().unwrap();
    for key in left.iter().filter(|key| !key.file_name().starts_with('.')) {
        assert!(leftovers.found.contains(key.as_str()), "{leftovers:?}");
    }
    assert!(leftovers.fix.as_deref().unwrap().contains("pgkeep-doctor"));
}

#[tokio::test]
async fn what_cannot_be_written_to_is_not_written_to_and_still_listed() {
    let denied = Effect::Fails(ErrorKind::PermissionDenied);
    let (findings, left) = examined([Fault::new(Operation::CheckWritable, denied)]).await;
    assert_eq!(bad(&findings), ["writable"]);
    assert!(findings.iter().any(|finding| finding.what == "listing" && finding.verdict == Verdict::Good));
    assert_eq!(left, []);
}

#[tokio::test]
async fn what_cannot_be_reached_is_not_waited_for_again_and_again() {
    let gone = Effect::Fails(ErrorKind::Unavailable);
    let (findings, _) = examined([Fault::new(Operation::CheckWritable, gone)]).await;
    assert_eq!(bad(&findings), ["writable"]);
    assert_eq!(findings.len(), 2, "{findings:#?}");
    // It went away in the middle: that something may be left is told.
    let faults = [Operation::Upload, Operation::Delete].map(|operation| Fault::new(operation, gone).lasting());
    let (findings, _) = examined(faults).await;
    assert_eq!(bad(&findings), ["uploads", "leftovers"], "{findings:#?}");
}

#[tokio::test]
async fn after_a_stop_nothing_more_is_begun_and_nothing_is_left() {
    let memory = Memory::new("memory");
    let destination: Arc<dyn Destination> = Arc::new(memory.destination());
    let ctx = context();
    ctx.cancel.cancel(Cause::Interrupt);
    let findings = examine(&ctx, &destination).await.findings;
    assert_eq!(bad(&findings), [] as [&str; 0]);
    assert_eq!(memory.keys(), []);
}

#[tokio::test]
async fn a_clock_that_is_off_is_told() {
    let memory = Memory::new("memory");
    let destination: Arc<dyn Destination> = Arc::new(memory.destination());
    let clock = FixedClock(Utc::now() - TimeDelta::minutes(30));
    let ctx = Context { clock: Arc::new(clock), ..context() };
    let findings = examine(&ctx, &destination).await.findings;
    assert_eq!(bad(&findings), ["clock"]);
    let told = findings.iter().find(|finding| finding.what == "clock").unwrap();
    assert!(told.found.starts_with("the destination's is 30 minutes ahead of"), "{told:?}");
    let at = |minutes| Utc::now() + TimeDelta::minutes(minutes);
    assert_eq!(skew(at(0), at(0), at(0)).verdict, Verdict::Good);
    assert_eq!(skew(at(-3), at(0), at(0)).verdict, Verdict::Note);
    assert_eq!(skew(at(-20), at(0), at(0)).verdict, Verdict::Warning);
}
