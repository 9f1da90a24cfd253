//! Makes the client that speaks S3: keys, region, endpoint, certificates, timeouts.

use super::pulse::Listener;
use crate::config::{S3Checksums, S3Config, S3Keys, SecretRef};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    AppName, BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    RuntimeComponents, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use std::path::Path;
use tokio::sync::Mutex;

/// The client, made when it is first needed: reading keys may run a command or ask another service.
pub(super) struct Connection {
    made: Mutex<Option<Made>>,
}

/// A client, and the secrets that no message may repeat.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) client: aws_sdk_s3::Client,
    pub(super) secrets: Vec<Secret>,
}

impl Connection {
    /// No client yet.
    pub(super) fn new() -> Self {
        Self { made: Mutex::new(None) }
    }

    /// The client for `config`.
    pub(super) async fn get(&self, config: &S3Config) -> Result<Made> {
        let mut made = self.made.lock().await;
        if let Some(made) = &*made {
            return Ok(made.clone());
        }
        let new = Box::pin(make(config)).await?;
        *made = Some(new.clone());
        Ok(new)
    }

    /// Makes another client next time, with keys that are read anew.
    pub(super) async fn forget(&self) {
        *self.made.lock().await = None;
    }
}

/// Whether reading the keys anew may give others.
pub(super) fn keys_may_change(config: &S3Config) -> bool {
    let changes = |secret: &SecretRef| matches!(secret, SecretRef::File(_) | SecretRef::Command(_));
    config.keys.as_ref().is_none_or(|keys| {
        changes(&keys.access_key_id)
            || changes(&keys.secret_access_key)
            || keys.session_token.as_ref().is_some_and(changes)
    })
}

async fn make(config: &S3Config) -> Result<Made> {
    let http = http_client(config.ca_file.as_deref()).await?;
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http);
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = &config.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    loader = match (&config.region, &config.endpoint) {
        (Some(region), _) => loader.region(Region::new(region.clone())),
        (None, Some(_)) => loader.region(region_here(config)),
        (None, None) => loader,
    };
    let mut secrets = Vec::new();
    if let Some(keys) = &config.keys {
        let (credentials, read) = static_keys(keys.clone()).await?;
        loader = loader.credentials_provider(credentials);
        secrets = read;
    }
    let loaded = loader.load().await;
    let region = loaded.region().cloned().or_else(|| loaded.endpoint_url().map(|_| Region::new("us-east-1")));
    let Some(region) = region else {
        return Err(Error::new(ErrorKind::Config, format!("the region of the bucket {} is not known", config.bucket))
            .hint("set region = \"...\" (or region=... in the s3:// URL), or AWS_REGION"));
    };
    let (request, response) = match config.checksums {
        S3Checksums::WhenSupported => {
            (RequestChecksumCalculation::WhenSupported, ResponseChecksumValidation::WhenSupported)
        }
        S3Checksums::WhenRequired => {
            (RequestChecksumCalculation::WhenRequired, ResponseChecksumValidation::WhenRequired)
        }
    };
    let mut builder = aws_sdk_s3::config::Builder::from(&loaded)
        .region(region)
        .force_path_style(config.path_style)
        // Attempts are counted and paused between in one place, `Backoff`; stalls are known by `pulse`.
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(config.patience.timeout).build())
        .request_checksum_calculation(request)
        .response_checksum_validation(response)
        .interceptor(Listener);
    builder.set_app_name(AppName::new("pgkeep").ok());
    Ok(Made { client: aws_sdk_s3::Client::from_conf(builder.build()), secrets })
}

/// The environment's or the profile's region, else the one that other services than AWS expect. The instance's metadata are
/// not asked: off AWS that takes seconds.
fn region_here(config: &S3Config) -> RegionProviderChain {
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &config.profile {
        profile = profile.profile_name(name);
    }
    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(profile.build())
        .or_else(Region::new("us-east-1"))
}

async fn static_keys(keys: S3Keys) -> Result<(Credentials, Vec<Secret>)> {
    let read = tokio::task::spawn_blocking(move || {
        let id = keys.access_key_id.resolve()?;
        let key = keys.secret_access_key.resolve()?;
        let token = keys.session_token.as_ref().map(SecretRef::resolve).transpose()?;
        Ok::<_, Error>((id, key, token))
    });
    let (id, key, token) = read.await.map_err(|source| {
        Error::new(ErrorKind::Failed, "reading the keys to S3 was interrupted").caused_by(source)
    })??;
    let token_text = token.as_ref().map(|token| token.expose().to_owned());
    let credentials = Credentials::new(id.expose(), key.expose(), token_text, None, "pgkeep");
    Ok((credentials, [Some(id), Some(key), token].into_iter().flatten().collect()))
}

async fn http_client(ca_file: Option<&Path>) -> Result<SharedHttpClient> {
    let mut trust = TrustStore::default();
    if let Some(path) = ca_file {
        trust.add_pem_certificate(authorities(path).await?);
    }
    let context = TlsContext::builder().with_trust_store(trust).build().map_err(|source| {
        Error::new(ErrorKind::Config, "the certificates of the authorities cannot be used").caused_by(source)
    })?;
    // Not `build_https`, which knows of no proxies.
    Ok(Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(context.clone())
            .proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.build()
    }))
}

/// The PEM file of authorities at `path`, proved usable: the S3 client panics on one that is not.
async fn authorities(path: &Path) -> Result<Vec<u8>> {
    let pem = tokio::fs::read(path).await.map_err(|source| {
        Error::io(format!("cannot read ca_file {}", path.display()), source)
            .hint("name a PEM file that pgkeep can read")
    })?;
    let invalid = || {
        Error::new(ErrorKind::Config, format!("ca_file {} holds no usable certificates", path.display()))
            .hint("it must be PEM: -----BEGIN CERTIFICATE----- and so on")
    };
    let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|source| invalid().caused_by(source))?;
    if certificates.is_empty() {
        return Err(invalid());
    }
    let proved = reqwest::Client::builder().tls_certs_only(certificates).build();
    proved.map(|_| pem).map_err(|source| invalid().caused_by(source))
}
