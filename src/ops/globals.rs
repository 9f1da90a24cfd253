//! Roles and tablespaces: `pg_dumpall --globals-only`, as far as the role may read them.

use crate::cancel::Cancel;
use crate::catalogue::Globals;
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::{Client, Inspection, summary};

/// The globals as SQL, and what became of them. That they cannot be read fails no backup: managed servers do not let
/// anybody.
pub(super) async fn dump_globals(
    client: &Client,
    inspection: &Inspection,
    cancel: &Cancel,
) -> Result<(Vec<u8>, Globals)> {
    let mut reason = String::new();
    for passwords in [true, false] {
        // Only superusers may read pg_authid.
        if passwords && !inspection.superuser {
            continue;
        }
        let mut args = vec!["--globals-only".to_owned(), "--no-password".to_owned()];
        if !passwords {
            args.push("--no-role-passwords".to_owned());
        }
        // As a keyword string: a bare name with an equals sign would be read as one.
        args.push(format!("--database=dbname={}", keyword_value(&inspection.database)));
        let dump = client.invoke(client.programs().pg_dumpall())?.args(args).capture(cancel).await?;
        let complete = memchr::memmem::find(&dump.stdout, b"-- PostgreSQL database cluster dump complete").is_some();
        if dump.status.success() && complete {
            let globals = if passwords { Globals::WithPasswords } else { Globals::WithoutPasswords };
            return Ok((dump.stdout, globals));
        }
        reason = summary(&dump.status.stderr);
        if reason.is_empty() {
            reason = dump.status.describe();
        }
    }
    Ok((Vec::new(), Globals::Missing { reason }))
}

fn keyword_value(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The statements of a globals dump that make roles, for a scratch cluster: everything but tablespaces, whose folders are
/// the source machine's, and the bootstrap superuser, who is there already.
pub(super) fn role_statements(globals: &[u8], bootstrap_role: &str) -> Result<String> {
    let text = String::from_utf8(globals.to_vec()).map_err(|_| {
        Error::new(ErrorKind::CouldNotRun, "the globals of the backup are not UTF-8, so that its roles cannot be made")
    })?;
    let bootstrap =
        [format!("CREATE ROLE {bootstrap_role};"), format!("CREATE ROLE \"{}\";", bootstrap_role.replace('"', "\"\""))];
    let keep = |line: &&str| {
        !line.starts_with('\\')
            && !line.starts_with("--")
            && !line.starts_with("CREATE TABLESPACE ")
            && !line.starts_with("ALTER TABLESPACE ")
            && !line.contains(" ON TABLESPACE ")
            && !bootstrap.iter().any(|role| line == role)
    };
    Ok(text.lines().filter(keep).collect::<Vec<_>>().join("\n"))
}

/// The tablespaces that a globals dump makes, by name.
pub(super) fn tablespaces(globals: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(globals);
    let names = text.lines().filter_map(|line| line.strip_prefix("CREATE TABLESPACE "));
    let name = |rest: &str| match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once("\" OWNER").map(|(name, _)| name.replace("\"\"", "\"")),
        None => rest.split_once(' ').map(|(name, _)| name.to_owned()),
    };
    names.filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_kept_and_tablespaces_named() {
        let globals = b"--\n\\restrict abc\nCREATE ROLE postgres;\nALTER ROLE postgres WITH SUPERUSER;\nCREATE ROLE bob;\n\
                        CREATE TABLESPACE fast OWNER postgres LOCATION '/x';\nCREATE TABLESPACE \"a \"\"b\" OWNER bob LOCATION '/y';\n\
                        GRANT CREATE ON TABLESPACE fast TO bob;\n\\unrestrict abc\n";
        let roles = role_statements(globals, "postgres").unwrap();
        assert_eq!(roles, "ALTER ROLE postgres WITH SUPERUSER;\nCREATE ROLE bob;");
        assert_eq!(tablespaces(globals), ["fast", "a \"b"]);
        assert_eq!(keyword_value(r"it's \ odd"), r"'it\'s \\ odd'");
    }
}
