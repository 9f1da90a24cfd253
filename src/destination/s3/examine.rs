//! What `pgkeep doctor` finds out about a bucket.

use super::Place;
use crate::destination::service::Finding;
use crate::error::Result;

impl Place {
    /// See [`crate::destination::Service::examine`].
    pub(super) async fn examine(&self) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    /// See [`crate::destination::Service::check_writable`].
    pub(super) async fn check_writable(&self) -> Result<()> {
        let doing = || format!("cannot write to {}", self.name);
        // Not HeadBucket: its answers have no body, so they could not say what is wrong.
        let listed = self.ask(|client| {
            client.list_objects_v2().bucket(&self.config.bucket).prefix(self.beginning(None)).max_keys(1).send()
        });
        listed.await.map_err(|trouble| trouble.during(doing()))?;
        // An upload that is begun and aborted leaves nothing, even where object lock keeps every object.
        let name = self.hidden_name("check")?;
        let begun = self.ask(|client| client.create_multipart_upload().bucket(&self.config.bucket).key(&name).send());
        let begun = begun.await.map_err(|trouble| trouble.during(doing()))?;
        let aborted = self.ask(|client| {
            let request = client.abort_multipart_upload().bucket(&self.config.bucket).key(&name);
            request.set_upload_id(begun.upload_id).send()
        });
        match aborted.await {
            Err(trouble) if trouble.kind != crate::error::ErrorKind::NotFound => Err(trouble.during(doing())),
            _ => Ok(()),
        }
    }
}
