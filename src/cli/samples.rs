//! Outcomes for the tests of this folder.

use crate::catalogue::Phases;
use crate::config::DrillLevel;
use crate::error::Error;
use crate::id::BackupId;
use crate::ops::{BackupOutcome, BackupStatus, DestinationOutcome, DrillOutcome, ListedBackup, Proof, RestoreOutcome};

fn id() -> BackupId {
    "20261122T020000Z-7f3a".parse().unwrap()
}

pub(super) fn backup() -> BackupOutcome {
    BackupOutcome {
        id: Some(id()),
        job: "shop".into(),
        database: "shop".into(),
        status: BackupStatus::Stored,
        label: None,
        tables: 12,
        rows: 3_200_000,
        entries: 40,
        large_objects: 0,
        sql_bytes: 1_500_000_000,
        stored_bytes: 210_000_000,
        duration_seconds: 12.3,
        destinations: vec![DestinationOutcome { name: "office".into(), status: BackupStatus::Stored, error: None }],
        warnings: vec!["no globals".into()],
        pruned: 0,
        error: None,
        failure: None,
    }
}

pub(super) fn listed() -> ListedBackup {
    ListedBackup {
        id: id(),
        job: "shop".into(),
        database: "shop".into(),
        started_at: id().started_at(),
        sql_bytes: 1_500_000_000,
        stored_bytes: 210_000_000,
        tables: 12,
        rows: 3_200_000,
        destinations: vec!["office".into()],
        missing: Vec::new(),
        verified_at: None,
        verify_result: None,
        drilled_at: None,
        drill_result: None,
        drill_level: None,
        label: Some("before fix".into()),
        pinned: false,
        keep_until: None,
    }
}

pub(super) fn restore() -> RestoreOutcome {
    RestoreOutcome {
        backup: id(),
        target: "ana@localhost:5432/shop_2".into(),
        database: "shop_2".into(),
        tables: 12,
        rows: 3_200_000,
        restore_seconds: 10.0,
        prove_seconds: 0.5,
        proof: Proof::Passed,
        differences: Vec::new(),
        adaptations: Vec::new(),
        notes: Vec::new(),
        kept_as: None,
        parts: None,
    }
}

pub(super) fn drill(result: &str, failure: Option<Error>) -> DrillOutcome {
    DrillOutcome {
        backup: id(),
        job: "shop".into(),
        database: "shop".into(),
        destination: "office".into(),
        level: DrillLevel::Prove,
        result: result.into(),
        objects_compared: 40,
        tables_compared: 12,
        rows_compared: 3_200_000,
        not_compared: Vec::new(),
        differences: Vec::new(),
        checks: Vec::new(),
        restore_seconds: 10.0,
        prove_seconds: 0.5,
        objective_seconds: None,
        phases: Phases::default(),
        reason: None,
        notes: Vec::new(),
        scratch: None,
        receipt: None,
        failure,
    }
}
