//! What S3's refusals and failures mean: the one place where they become kinds and hints.
//!
//! Codes: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>, and what other services send instead.

use crate::error::{Error, ErrorKind};
use crate::secret::{Secret, scrub};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::error::Error as StdError;

/// The longest part of a service's own message that is shown, in characters.
const LONGEST_MESSAGE: usize = 300;

/// A request that failed.
#[derive(Debug)]
pub(super) struct Trouble {
    /// What it means.
    pub(super) kind: ErrorKind,
    /// The service's code, or nothing where none came.
    pub(super) code: String,
    /// The HTTP status of its answer, 0 where none came.
    pub(super) status: u16,
    text: String,
    hint: Option<String>,
}

impl Trouble {
    /// A request that was silent for too long.
    pub(super) fn stalled(seconds: u64) -> Self {
        Self::plain(ErrorKind::Unavailable, format!("nothing was sent or received for {seconds} s"))
    }

    /// Trouble without an answer of the service.
    pub(super) fn plain(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, code: String::new(), status: 0, text: text.into(), hint: None }
    }

    /// Trouble before anything was asked.
    pub(super) fn own(error: &Error) -> Self {
        let mut trouble = Self::plain(error.kind(), error.one_line());
        trouble.hint = error.hint_text().map(str::to_owned);
        trouble
    }

    /// What the SDK's `error` means; none of the `secrets` is repeated.
    pub(super) fn new<E>(error: &SdkError<E, HttpResponse>, secrets: &[Secret]) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        let header = |name| error.raw_response().and_then(|response| response.headers().get(name));
        let mut trouble = if let SdkError::ServiceError(service) = error {
            let code = service.err().code().filter(|code| !code.is_empty()).unwrap_or_else(|| code_of(status));
            let message = service.err().message().unwrap_or_default();
            let mut trouble = of_code(code, status, header("x-amz-bucket-region"));
            let said = if message.is_empty() { String::new() } else { format!(": {}", tidy(message)) };
            let id = header("x-amz-request-id").map(|id| format!(", request {}", tidy(id))).unwrap_or_default();
            trouble.text = format!("the service answered {}{said} (HTTP {status}{id})", tidy(code));
            trouble
        } else {
            of_failure(error, status)
        };
        trouble.text = scrub(&trouble.text, secrets);
        trouble
    }

    /// Whether the service does not know what it was asked for.
    pub(super) fn is_not_implemented(&self) -> bool {
        self.status == 501 || matches!(self.code.as_str(), "NotImplemented" | "MethodNotAllowed" | "XNotImplemented")
    }

    /// Whether temporary keys have run out.
    pub(super) fn keys_expired(&self) -> bool {
        matches!(self.code.as_str(), "ExpiredToken" | "TokenRefreshRequired" | "ExpiredTokenException")
    }

    /// The same trouble, where another attempt may help after all.
    pub(super) fn passing(mut self) -> Self {
        self.kind = ErrorKind::Unavailable;
        self
    }

    /// The error for people: `doing` names what was done with what.
    pub(super) fn during(self, doing: impl Into<String>) -> Error {
        let error = Error::new(self.kind, doing).caused_by(Error::new(self.kind, self.text));
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// One line without control characters, cut where it is long.
fn tidy(text: &str) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(LONGEST_MESSAGE).collect::<String>().trim().trim_end_matches('.').to_owned()
}

/// Answers to HEAD have no body, so only their status tells.
fn code_of(status: u16) -> &'static str {
    match status {
        301 | 307 | 308 => "PermanentRedirect",
        400 => "BadRequest",
        401 | 403 => "AccessDenied",
        404 => "NotFound",
        409 => "Conflict",
        412 => "PreconditionFailed",
        416 => "InvalidRange",
        429 => "TooManyRequests",
        501 => "NotImplemented",
        503 => "ServiceUnavailable",
        507 => "InsufficientStorage",
        500..=599 => "InternalError",
        _ => "no code",
    }
}

fn of_code(code: &str, status: u16, region: Option<&str>) -> Trouble {
    use ErrorKind as Kind;
    let (kind, hint) = match code {
        "NoSuchKey" | "NotFound" | "NoSuchUpload" | "NoSuchVersion" => (Kind::NotFound, ""),
        "NoSuchBucket" => (Kind::NotFound, "create the bucket, or correct its name, region and endpoint"),
        "PreconditionFailed" => (Kind::AlreadyExists, ""),
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "InvalidPayer" | "Unauthorized" | "Forbidden" => (
            Kind::PermissionDenied,
            "the keys need s3:ListBucket and s3:ListBucketMultipartUploads on the bucket, and s3:GetObject, \
             s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload below the prefix",
        ),
        "SignatureDoesNotMatch" | "InvalidSecurity" => (
            Kind::PermissionDenied,
            "the secret access key does not belong to the access key id, or the region is wrong",
        ),
        "InvalidAccessKeyId" | "NotSignedUp" => {
            (Kind::PermissionDenied, "the service does not know the access key id; is it that of another service?")
        }
        "ExpiredToken" | "TokenRefreshRequired" | "ExpiredTokenException" => {
            (Kind::PermissionDenied, "the temporary keys have expired; get new ones")
        }
        "InvalidToken" => (Kind::PermissionDenied, "the session token is wrong, or one is missing"),
        "RequestTimeTooSkewed" | "RequestExpired" => {
            (Kind::PermissionDenied, "the clock of this computer is wrong; set it, best with NTP")
        }
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => {
            let place = region.map_or_else(
                || "the bucket lies in another region: set region (and endpoint) to its own".to_owned(),
                |region| format!("the bucket lies in another region: set region = {region:?}"),
            );
            return Trouble {
                kind: Kind::Config,
                code: code.to_owned(),
                status,
                text: String::new(),
                hint: Some(place),
            };
        }
        "InvalidRange" => (Kind::Damaged, ""),
        "NotImplemented" | "XNotImplemented" => (
            Kind::Failed,
            "the service lacks something that was asked of it; see create_only, checksums, storage_class and object_lock",
        ),
        "InvalidObjectState" => {
            (Kind::Failed, "the object is archived; restore it from the archive at the service first")
        }
        "InvalidStorageClass" => (Kind::Config, "the service does not know this storage_class"),
        "QuotaExceeded" | "EntityTooLarge" | "XMinioStorageFull" | "InsufficientStorage" | "TooManyBuckets" => {
            (Kind::NoSpace, "make room at the service, or raise its quota")
        }
        // What arrived is not what was sent: another attempt sends it again.
        "BadDigest"
        | "XAmzContentSHA256Mismatch"
        | "XAmzContentChecksumMismatch"
        | "IncompleteBody"
        | "RequestTimeout"
        | "SlowDown"
        | "TooManyRequests"
        | "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "OperationAborted"
        | "InternalError"
        | "InternalFailure"
        | "ServiceUnavailable"
        | "ConditionalRequestConflict"
        | "Busy" => (Kind::Unavailable, ""),
        _ => match status {
            401 | 403 => (Kind::PermissionDenied, ""),
            404 => (Kind::NotFound, ""),
            // 200 too: the error came in the body of an answer that had begun well.
            200..=299 | 408 | 425 | 429 | 500 | 502..=506 | 508..=599 => (Kind::Unavailable, ""),
            507 => (Kind::NoSpace, "make room at the service, or raise its quota"),
            _ => (Kind::Failed, ""),
        },
    };
    Trouble {
        kind,
        code: code.to_owned(),
        status,
        text: String::new(),
        hint: if hint.is_empty() { None } else { Some(hint.to_owned()) },
    }
}

/// Failures without an answer that could be understood.
fn of_failure<E: StdError + 'static>(error: &SdkError<E, HttpResponse>, status: u16) -> Trouble {
    let mut words = Vec::new();
    let mut missing_keys = None;
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(credentials) = error.downcast_ref::<CredentialsError>() {
            missing_keys.get_or_insert(match credentials {
                CredentialsError::CredentialsNotLoaded(_) => ErrorKind::PermissionDenied,
                CredentialsError::InvalidConfiguration(_) => ErrorKind::Config,
                _ => ErrorKind::Unavailable,
            });
        }
        let text = tidy(&error.to_string());
        if !text.is_empty() && words.last() != Some(&text) {
            words.push(text);
        }
        cause = error.source();
    }
    let text = words.join(": ");
    if let Some(kind) = missing_keys {
        return Trouble {
            kind,
            hint: Some(
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, or write access_key_id and \
                 secret_access_key into pgkeep.toml"
                    .to_owned(),
            ),
            ..Trouble::plain(kind, format!("no keys to S3 were found: {text}"))
        };
    }
    if text.contains("invalid peer certificate") {
        return Trouble {
            hint: Some("if the certificate is signed by an authority of your own, name that in ca_file".to_owned()),
            ..Trouble::plain(ErrorKind::PermissionDenied, format!("the service cannot be trusted: {text}"))
        };
    }
    let kind = match error {
        SdkError::ConstructionFailure(_) => ErrorKind::Failed,
        _ => ErrorKind::Unavailable,
    };
    let what = match error {
        SdkError::ConstructionFailure(_) => "the request cannot be made",
        SdkError::TimeoutError(_) => "the connection took too long",
        SdkError::ResponseError(_) => "the answer could not be understood",
        _ => "the service could not be reached",
    };
    Trouble { status, ..Trouble::plain(kind, format!("{what}: {text}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::error::{ConnectorError, ErrorMetadata};
    use aws_sdk_s3::operation::get_object::GetObjectError;
    use aws_sdk_s3::primitives::SdkBody;

    fn answered(status: u16, code: &str, message: &str) -> Trouble {
        let metadata = ErrorMetadata::builder().code(code).message(message).build();
        let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        response.headers_mut().insert("x-amz-request-id", "REQ1");
        response.headers_mut().insert("x-amz-bucket-region", "eu-west-1");
        let error = SdkError::service_error(GetObjectError::generic(metadata), response);
        Trouble::new(&error, &[Secret::new("hunter2")])
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
        for (status, code) in [
            (503, "SlowDown"),
            (500, "InternalError"),
            (200, "InternalError"),
            (400, "RequestTimeout"),
            (400, "BadDigest"),
            (409, "ConditionalRequestConflict"),
            (429, ""),
            (502, ""),
            (503, "SomethingNew"),
        ] {
            assert_eq!(answered(status, code, "x").kind, ErrorKind::Unavailable, "{status} {code}");
        }
        for (status, code, kind) in [
            (403, "AccessDenied", ErrorKind::PermissionDenied),
            (403, "SignatureDoesNotMatch", ErrorKind::PermissionDenied),
            (403, "RequestTimeTooSkewed", ErrorKind::PermissionDenied),
            (403, "", ErrorKind::PermissionDenied),
            (404, "NoSuchKey", ErrorKind::NotFound),
            (404, "NoSuchBucket", ErrorKind::NotFound),
            (404, "", ErrorKind::NotFound),
            (412, "PreconditionFailed", ErrorKind::AlreadyExists),
            (301, "PermanentRedirect", ErrorKind::Config),
            (507, "", ErrorKind::NoSpace),
            (400, "SomethingNew", ErrorKind::Failed),
        ] {
            assert_eq!(answered(status, code, "x").kind, kind, "{status} {code}");
        }
    }

    #[test]
    fn an_error_says_what_the_service_said_and_what_to_do_and_no_secret() {
        let error = answered(403, "InvalidAccessKeyId", "No hunter2\nhere.").during("cannot read job/x");
        let line = error.one_line();
        assert!(
            line.starts_with("cannot read job/x: the service answered InvalidAccessKeyId: No [secret] here"),
            "{line}"
        );
        assert!(line.contains("HTTP 403, request REQ1") && !line.contains('\n'), "{line}");
        assert!(error.hint_text().unwrap().contains("access key id"));
        let wrong_region = answered(301, "PermanentRedirect", "").during("x");
        assert!(wrong_region.hint_text().unwrap().contains("eu-west-1"));
    }

    #[test]
    fn certificates_and_missing_keys_are_no_passing_failures() {
        let failed = |source: Box<dyn StdError + Send + Sync>| {
            let error = SdkError::<GetObjectError, HttpResponse>::dispatch_failure(ConnectorError::other(source, None));
            Trouble::new(&error, &[])
        };
        let certificate = failed("invalid peer certificate: UnknownIssuer".into());
        assert_eq!(certificate.kind, ErrorKind::PermissionDenied);
        assert!(certificate.during("x").hint_text().unwrap().contains("ca_file"));
        let no_keys = failed(CredentialsError::not_loaded("none").into());
        assert_eq!(no_keys.kind, ErrorKind::PermissionDenied);
        assert!(no_keys.during("x").hint_text().unwrap().contains("AWS_ACCESS_KEY_ID"));
        let down = failed(CredentialsError::provider_error("no answer").into());
        assert_eq!(down.kind, ErrorKind::Unavailable);
        assert_eq!(failed("connection reset".into()).kind, ErrorKind::Unavailable);
    }
}
