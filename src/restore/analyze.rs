//! Planner statistics, which no dump holds.

use crate::cancel::Cancel;
use crate::error::Result;
use crate::postgres::Client;

/// Tables that can be analyzed, as SQL names.
const TABLES: &str = "set search_path = ''; select coalesce(json_agg(c.oid::regclass::text), '[]') from pg_catalog.pg_class c \
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where c.relkind in ('r', 'm', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema';";

/// Gathers statistics of the whole database. A table whose statistics cannot be gathered (some types cannot be compared)
/// is left without, and named in what is returned: it is restored all the same.
pub async fn analyze(client: &Client, cancel: &Cancel) -> Result<Vec<String>> {
    if client.execute("analyze;", cancel).await.is_ok() {
        return Ok(Vec::new());
    }
    cancel.check()?;
    let tables: Vec<String> = client.query_json(TABLES, cancel).await?;
    let mut notes = Vec::new();
    for table in tables {
        if let Err(error) = client.execute(&format!("analyze {table};"), cancel).await {
            cancel.check()?;
            notes.push(format!("no statistics were gathered for {table}: {}", error.one_line()));
        }
    }
    Ok(notes)
}
