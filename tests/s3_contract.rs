//! S3, held to the contract on servers that speak it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod contract;
mod support;

use contract::Any;
use pgkeep::cancel::Cancel;
use pgkeep::config::S3Config;
use pgkeep::destination::{Backoff, Remote, Retrying, S3};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Quirks, S3s};

fn backoff() -> Backoff {
    Backoff::new(Duration::from_secs(20), Cancel::new())
}

fn destination(config: S3Config) -> Any {
    Arc::new(Remote::new(Retrying::new(S3::new("bucket", config, backoff()), backoff())))
}

/// Holds S3 to the contract on servers with `quirks`, a new one for each promise.
async fn holds_on(quirks: Quirks, change: impl Fn(&mut S3Config)) {
    let servers = Mutex::new(Vec::new());
    contract::holds(|| async {
        let server = S3s::with(quirks.clone()).await;
        let mut config = server.config();
        change(&mut config);
        servers.lock().unwrap().push(server);
        destination(config)
    })
    .await;
}

#[tokio::test]
async fn s3_keeps_the_contract() {
    holds_on(Quirks::default(), |_| {}).await;
}
