//! What a bucket may hold after a run, whatever happened in it: whole backups, and nothing else.

use super::Seaweed;
use pgkeep::cancel::Cancel;
use pgkeep::config::S3Config;
use pgkeep::destination::{Backoff, Destination, Remote, Retrying, S3};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The destination that pgkeep makes of `config`.
pub fn s3_destination(config: S3Config) -> Arc<dyn Destination> {
    let backoff = Backoff::new(config.patience.retry_for, Cancel::new());
    Arc::new(Remote::new(Retrying::new(S3::new("cloud", config, backoff.clone()), backoff)))
}

impl Seaweed {
    /// Fails unless every object in the bucket belongs to a whole backup, byte for byte as its manifest says, and no upload
    /// is open. Gives how many backups there are. All of it is asked and read by other people's client.
    #[track_caller]
    pub fn whole_backups(&self, bucket: &str) -> usize {
        let mut left: BTreeMap<String, u64> = self.objects(bucket).into_iter().collect();
        let manifests: Vec<String> = left.keys().filter(|key| key.ends_with("/manifest.json")).cloned().collect();
        for key in &manifests {
            left.remove(key);
            let dir = key.strip_suffix("manifest.json").unwrap();
            let manifest: Value = serde_json::from_slice(&self.get(bucket, key)).expect("a manifest is JSON");
            for file in manifest["files"].as_array().unwrap() {
                let name = format!("{dir}{}", file["name"].as_str().unwrap());
                assert_eq!(left.remove(&name), file["bytes"].as_u64(), "{name}");
                assert_eq!(hex::encode(Sha256::digest(self.get(bucket, &name))), file["sha256"], "{name}");
            }
            left.retain(|key, _| !["verified/", "drills/"].iter().any(|part| key.starts_with(&format!("{dir}{part}"))));
        }
        // The index of the list, and the marks of what changed since, lie beside the folders of backups.
        let beside = |key: &String| {
            let name = key.splitn(3, '/').nth(2).unwrap_or_default();
            let index = name.starts_with("catalogue-") && name.ends_with(".jsonl.gz");
            !name.contains('/') && (index || name.contains(".changed-"))
        };
        left.retain(|key, _| !beside(key));
        assert!(left.is_empty(), "belongs to no backup: {left:#?}");
        assert_eq!(self.open_uploads(bucket), [], "uploads are open");
        manifests.len()
    }
}
