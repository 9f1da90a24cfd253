//! What pgkeep does, as use-cases: only here are destinations, PostgreSQL and archives joined.
//!
//! Each use-case takes a [`Context`] and a request, and returns an outcome that can be shown or written as JSON as it is:
//! the field names are those that the README promises to scripts.

mod adopt;
mod auth;
mod backup;
mod catalog;
mod check;
mod consolidate;
mod contents;
mod context;
mod copy;
mod data;
mod demo;
mod diff;
mod doctor;
mod drill;
mod dump;
mod fetch;
mod globals;
mod instructions;
mod kept;
mod outcome;
mod parallel;
mod pin;
mod prove;
mod prune;
mod ready;
mod restore;
mod service;
mod store;
mod verify;

pub use adopt::{AdoptRequest, adopt};
pub use auth::{Asked, AuthOutcome, AuthRequest, auth_file, auth_gdrive};
pub use backup::{BackupRequest, backup, databases_of};
pub use catalog::{Backup, Catalog, nearest_first, open_destination};
pub use check::contents;
pub use consolidate::consolidate;
pub use context::Context;
pub use copy::{copy, copy_missing};
pub use demo::{Demo, damage_copy};
pub use diff::{DiffOutcome, diff};
pub use doctor::{DatabaseFindings, DestinationFindings, DoctorJob, DoctorOutcome, DoctorRequest, doctor};
pub use drill::{DrillRequest, Standing, choose, drill, sweep_scratch};
pub use fetch::fetch;
pub use outcome::{
    AdoptOutcome, BackupOutcome, BackupStatus, CheckAnswer, CopyOutcome, CopyStatus, DestinationOutcome, DrillOutcome,
    ListedBackup, PartsOutcome, PinOutcome, PlannedBackup, Proof, PruneFailure, PruneOutcome, PrunedBackup,
    RestoreOutcome, VerifyOutcome, VerifyStatus,
};
pub use pin::pin;
pub use prune::{PrunePlace, PruneRequest, Pruning};
pub use restore::{
    PartRequest, RestoreEstimate, RestorePlan, RestoreRequest, SwapBackOutcome, SwapBackRequest, Target, TargetState,
    databases_there, plan_restore, restore, swap_back,
};
pub use service::{
    ServiceChange, ServiceCommand, ServiceFile, ServiceOutcome, ServiceRequest, service_install, service_uninstall,
};
pub use verify::verify;
