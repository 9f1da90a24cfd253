//! libpq's connection parameters, as of PostgreSQL 18 (documentation, "Database Connection Control Functions").

/// A parameter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keyword {
    /// Its name in connection strings and service files.
    pub(super) name: &'static str,
    /// The environment variable that sets it, where there is one.
    pub(super) variable: Option<&'static str>,
    /// Whether its value must never be shown.
    pub(super) secret: bool,
}

const fn with_variable(name: &'static str, variable: &'static str) -> Keyword {
    Keyword { name, variable: Some(variable), secret: false }
}

const fn without_variable(name: &'static str) -> Keyword {
    Keyword { name, variable: None, secret: false }
}

const fn secret(name: &'static str, variable: Option<&'static str>) -> Keyword {
    Keyword { name, variable, secret: true }
}

/// Every parameter that libpq knows.
pub(super) const KEYWORDS: [Keyword; 50] = [
    with_variable("service", "PGSERVICE"),
    with_variable("user", "PGUSER"),
    secret("password", Some("PGPASSWORD")),
    with_variable("passfile", "PGPASSFILE"),
    with_variable("channel_binding", "PGCHANNELBINDING"),
    with_variable("connect_timeout", "PGCONNECT_TIMEOUT"),
    with_variable("dbname", "PGDATABASE"),
    with_variable("host", "PGHOST"),
    with_variable("hostaddr", "PGHOSTADDR"),
    with_variable("port", "PGPORT"),
    with_variable("client_encoding", "PGCLIENTENCODING"),
    with_variable("options", "PGOPTIONS"),
    with_variable("application_name", "PGAPPNAME"),
    without_variable("fallback_application_name"),
    without_variable("keepalives"),
    without_variable("keepalives_idle"),
    without_variable("keepalives_interval"),
    without_variable("keepalives_count"),
    without_variable("tcp_user_timeout"),
    with_variable("sslmode", "PGSSLMODE"),
    with_variable("sslnegotiation", "PGSSLNEGOTIATION"),
    with_variable("sslcompression", "PGSSLCOMPRESSION"),
    with_variable("sslcert", "PGSSLCERT"),
    with_variable("sslkey", "PGSSLKEY"),
    with_variable("sslcertmode", "PGSSLCERTMODE"),
    secret("sslpassword", None),
    with_variable("sslrootcert", "PGSSLROOTCERT"),
    with_variable("sslcrl", "PGSSLCRL"),
    with_variable("sslcrldir", "PGSSLCRLDIR"),
    with_variable("sslsni", "PGSSLSNI"),
    with_variable("requirepeer", "PGREQUIREPEER"),
    with_variable("require_auth", "PGREQUIREAUTH"),
    with_variable("min_protocol_version", "PGMINPROTOCOLVERSION"),
    with_variable("max_protocol_version", "PGMAXPROTOCOLVERSION"),
    with_variable("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    with_variable("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    with_variable("gssencmode", "PGGSSENCMODE"),
    with_variable("krbsrvname", "PGKRBSRVNAME"),
    with_variable("gsslib", "PGGSSLIB"),
    with_variable("gssdelegation", "PGGSSDELEGATION"),
    without_variable("replication"),
    with_variable("target_session_attrs", "PGTARGETSESSIONATTRS"),
    with_variable("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    secret("scram_client_key", None),
    secret("scram_server_key", None),
    without_variable("oauth_issuer"),
    without_variable("oauth_client_id"),
    secret("oauth_client_secret", None),
    without_variable("oauth_scope"),
    without_variable("sslkeylogfile"),
];

/// The parameter called `name`; case matters, as in libpq.
pub(super) fn find(name: &str) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.name == name)
}
