//! Which destinations and which server a command line means, where it leaves them out.

use crate::config::{Config, DestinationRef, JobConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::{Target, nearest_first};
use crate::postgres::Connection;
use crate::secret::Secret;

/// The variable that holds the connection string.
pub(super) const URL_VARIABLE: &str = "DATABASE_URL";

/// The variables each of which says that libpq's environment is meant.
const LIBPQ_VARIABLES: [&str; 3] = ["PGHOST", "PGDATABASE", "PGSERVICE"];

/// The destinations of `texts`, each once.
pub(super) fn destinations(texts: &[String], config: &Config) -> Result<Vec<DestinationRef>> {
    let mut found: Vec<DestinationRef> = Vec::new();
    for text in texts {
        let destination = DestinationRef::parse(text, config)?;
        if !found.iter().any(|other| other.config == destination.config) {
            found.push(destination);
        }
    }
    Ok(found)
}

/// Every configured destination.
pub(super) fn configured(config: &Config) -> Vec<DestinationRef> {
    let all = config.destinations.iter();
    all.map(|(name, destination)| DestinationRef { name: name.clone(), config: destination.clone() }).collect()
}

/// Where backups are looked for: `at`, else the destinations of `job` if it is configured, else all
/// configured ones, the nearest first.
pub(super) fn look_in(at: &[String], job: Option<&str>, config: &Config) -> Result<Vec<DestinationRef>> {
    if !at.is_empty() {
        return destinations(at, config);
    }
    if let Some(job) = job.and_then(|name| config.jobs.get(name)) {
        return destinations(&job.destinations, config).map(nearest_first);
    }
    let all = configured(config);
    if all.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "it is not known where the backups are")
            .hint("name the folder, as in --at ./backups, or write a pgkeep.toml with destinations"));
    }
    Ok(nearest_first(all))
}

/// The configured job called `name`.
pub(super) fn job<'c>(name: &str, config: &'c Config) -> Result<&'c JobConfig> {
    refuse_url("a job", name)?;
    config.jobs.get(name).ok_or_else(|| {
        let error = Error::new(ErrorKind::Usage, format!("no job is named {name:?}"));
        if config.jobs.is_empty() {
            return error.hint(
                "jobs are sections of pgkeep.toml, and none is configured; without them: DATABASE_URL=... pgkeep backup \
                 now --to ./backups",
            );
        }
        let near = |known: &&String| strsim::normalized_damerau_levenshtein(name, known) > 0.6;
        match config.jobs.keys().find(near) {
            Some(known) => error.hint(format!("did you mean {known}?")),
            None => error.hint(format!("configured are {}", names(config.jobs.keys()))),
        }
    })
}

fn names<'n>(names: impl Iterator<Item = &'n String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Refuses a connection string where `what` was expected, without repeating it: it may hold a password.
pub(super) fn refuse_url(what: &str, text: &str) -> Result<()> {
    if text.contains("://") {
        return Err(Error::new(ErrorKind::Usage, format!("{what} was expected, not a URL"))
            .hint(format!("set {URL_VARIABLE} in the environment, or write --database-url before it")));
    }
    Ok(())
}

/// The connection of `--database-url`, else of `DATABASE_URL`; empty ones count as not given.
pub(super) fn url(given: Option<&Secret>) -> Result<Option<Connection>> {
    if let Some(text) = given.filter(|text| !text.expose().trim().is_empty()) {
        return parse("--database-url", text).map(Some);
    }
    let Some(text) = std::env::var_os(URL_VARIABLE) else { return Ok(None) };
    let text = Secret::new(text.into_string().map_err(|_| {
        Error::new(ErrorKind::Usage, format!("{URL_VARIABLE} is not UTF-8")).hint("percent-encode what is not ASCII")
    })?);
    if text.expose().trim().is_empty() { Ok(None) } else { parse(URL_VARIABLE, &text).map(Some) }
}

/// Reads the connection string that was given with `what`; one that cannot be read is wrong usage.
pub(super) fn parse(what: &str, text: &Secret) -> Result<Connection> {
    Connection::parse(text).map_err(|error| {
        Error::new(ErrorKind::Usage, format!("{what} is no connection string that can be used")).caused_by(error)
    })
}

/// The connection that `PG*` variables decide, if any of them says where to.
pub(super) fn environment() -> Result<Option<Connection>> {
    let said = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if LIBPQ_VARIABLES.iter().any(said) { Connection::from_environment().map(Some) } else { Ok(None) }
}

/// The error of a command line from which no server follows.
pub(super) fn no_server(example: &str) -> Error {
    Error::new(ErrorKind::Usage, "it is not known which database is meant")
        .hint(format!("set {URL_VARIABLE}, as in: {URL_VARIABLE}=postgres://user@host/shop {example}"))
}

/// Into which database a backup of `job` is restored: `into` is a connection string, or a name on the server that `given`,
/// `DATABASE_URL`, the job or the `PG*` variables lead to.
pub(super) fn target(into: &Secret, given: Option<&Secret>, job: &str, config: &Config) -> Result<Target> {
    let text = into.expose();
    if text.trim().is_empty() {
        return Err(
            Error::new(ErrorKind::Usage, "--into is empty").hint("name a new database, as in --into shop_restored")
        );
    }
    if text.contains("://") || text.contains('=') {
        let connection = parse("--into", into)?;
        if connection.database().is_none() {
            return Err(Error::new(ErrorKind::Usage, "the connection string of --into names no database")
                .hint("end the URL with the database, as in postgres://user@host/shop_restored"));
        }
        return Ok(Target::Url(connection));
    }
    Ok(Target::Named(server(given, job, config)?, text.to_owned()))
}

/// The server that `given`, `DATABASE_URL`, the job or the `PG*` variables lead to.
pub(super) fn server(given: Option<&Secret>, job: &str, config: &Config) -> Result<Connection> {
    let mut server = url(given)?;
    if server.is_none()
        && let Some(url) = config.jobs.get(job).and_then(|job| job.database_url.as_ref())
    {
        server = Some(Connection::parse(&url.resolve()?)?);
    }
    let server = match server {
        Some(server) => Some(server),
        None => environment()?,
    };
    server.ok_or_else(|| no_server("pgkeep restore latest --into shop_restored --at ./backups"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DestinationConfig;

    fn office() -> Config {
        let folder = DestinationConfig::Folder { path: "/backups".into() };
        Config { destinations: [("office".to_owned(), folder)].into(), ..Config::default() }
    }

    #[test]
    fn the_same_folder_twice_is_one_destination() {
        let texts = ["office".to_owned(), "/backups".to_owned(), "./other".to_owned()];
        let found = destinations(&texts, &office()).unwrap();
        assert_eq!(found.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["office", "./other"]);
    }

    #[test]
    fn without_at_all_configured_destinations_are_meant() {
        assert_eq!(look_in(&[], None, &office()).unwrap()[0].name, "office");
        let error = look_in(&[], None, &Config::default()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.hint_text().unwrap().contains("--at"));
    }

    #[test]
    fn into_a_url_or_a_name() {
        let server = Secret::new("postgres://ana@localhost/shop");
        let target = |into: &str| target(&Secret::new(into), Some(&server), "shop", &Config::default());
        assert!(matches!(target("shop_2").unwrap(), Target::Named(_, name) if name == "shop_2"));
        assert!(matches!(target("two words").unwrap(), Target::Named(_, name) if name == "two words"));
        for url in ["postgres://h/x", "host=h dbname=x", "dbname=x"] {
            assert!(matches!(target(url).unwrap(), Target::Url(to) if to.database() == Some("x")), "{url}");
        }
        assert_eq!(target("").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_connection_string_in_the_wrong_place_is_not_repeated() {
        let error = job("postgres://ana:hunter2@h/shop", &office()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(!error.one_line().contains("hunter2"));
    }
}
