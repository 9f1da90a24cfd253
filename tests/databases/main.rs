//! pgkeep with real PostgreSQL servers and folders: dumps, restores, drills and their faults.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

#[path = "../support/mod.rs"]
mod support;

mod copies;
mod doctor;
mod drill_catches;
mod drill_could_not_run;
mod drill_levels;
mod elsewhere;
mod faults_at_rest;
mod faults_dump;
mod faults_restore;
mod faults_restore_parallel;
mod faults_storage;
mod fixture;
mod jobs;
mod kill;
mod look;
mod odd_databases;
mod parallel;
mod parts;
mod proof_real;
mod psql_attacks;
mod random_schemas;
mod restore_asks;
mod restore_txt;
mod round_trip;
mod scan_real;
mod secrets;
mod sql_scripts;
mod swap;
