//! What is written beside an archive for the day when pgkeep is not at hand: `RESTORE.txt` and `database.sql`.

use crate::catalogue::File;
use crate::config::Codec;
use crate::postgres::{Inspection, Without};
use crate::script::quote_identifier;
use std::fmt::Write;

/// `database.sql`: the properties of the database, for `psql -v db=NAME`.
pub(super) fn database_sql(inspection: &Inspection) -> String {
    // A name that no statement holds by accident, replaced by psql's variable.
    let placeholder = "pgkeep:database:name";
    let statements = inspection.properties.alter_statements(placeholder, Without::default());
    let mut sql = format!(
        "-- The properties of the database {} itself, which pg_dump leaves out.\n\
         -- Run this last, with the new database's name:\n\
         --   psql -X -v ON_ERROR_STOP=1 -v db=NEWNAME -d NEWNAME -f database.sql\n\n",
        one_line(&inspection.database)
    );
    for statement in statements {
        sql.push_str(&statement.replace(&quote_identifier(placeholder), ":\"db\""));
        sql.push('\n');
    }
    sql
}

/// `RESTORE.txt`, for a backup with these data files.
pub(super) fn restore_txt(inspection: &Inspection, data: &[File], codec: Codec, globals: bool) -> String {
    let unpack = match codec {
        Codec::Gzip => "gunzip -c",
        Codec::Zstd => "zstd -dc",
    };
    // A name that begins with a dash would be taken for an option.
    let path = |file: &File| {
        let name = file.name.as_str();
        if name.starts_with('-') { format!("./{name}") } else { name.to_owned() }
    };
    let paths = data.iter().map(path).collect::<Vec<_>>().join(" \\\n      ");
    let sums = data.iter().map(|file| format!("{}  {}", file.sha256, file.name)).collect::<Vec<_>>();
    let (what, check) = match (data, sums.as_slice()) {
        ([file], [sum]) => (
            format!("{} is what pg_dump wrote of the database", file.name),
            format!("Check the file. The line must end in OK.\n\n    echo \"{sum}\" | sha256sum -c"),
        ),
        _ => (
            format!("The {} numbered files are, in this order, a dump of the database", data.len()),
            format!("Check the files. Each line must end in OK.\n\n    sha256sum -c <<'END'\n{}\nEND", sums.join("\n")),
        ),
    };
    let create = inspection
        .properties
        .create_statement("restored", inspection.server.version_num)
        .replace("\"restored\"", "restored")
        .replace('\'', "'\\''");
    let mut text = format!(
        "How to restore this backup without pgkeep\n\
         =========================================\n\n\
         {what} {database}, compressed.\n\
         It needs PostgreSQL {major} or newer, and psql of the same age. A psql from before August 2025 stops at a line that\n\
         begins with \\restrict before anything is loaded: take a newer one, which works with older servers too.\n\
         PGHOST, PGUSER and the like tell psql which server is meant. In this folder:\n\n\
         1. {check}\n\n\
         2. Make a new, empty database; here it is called restored. Never load into one that is in use.\n\n    \
            psql -X -d postgres -c '{create}'\n\n",
        database = one_line(&inspection.database),
        major = inspection.server.major(),
    );
    let mut step = 3;
    if globals {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{step}. On a server that does not have the roles yet: make them. Errors that say \"already exists\" are\n   \
             harmless. Read the file first if other databases live on the server: it may set passwords too.\n\n    \
             gunzip -c globals.sql.gz | psql -X -d postgres\n\n"
        );
        step += 1;
    }
    let _ = write!(
        text,
        "{step}. Load it. It stops at the first error.\n\n    \
         {unpack} {paths} | psql -X -v ON_ERROR_STOP=1 -d restored\n\n\
         {}. Give the database its own settings, owner and privileges, and gather statistics.\n\n    \
         psql -X -v ON_ERROR_STOP=1 -v db=restored -d restored -f database.sql\n    \
         psql -X -d restored -c 'ANALYZE'\n\n\
         {elsewhere}\n\
         With pgkeep all of this, and the proof that every row came back, is: pgkeep restore BACKUP --into restored\n",
        step + 1,
        elsewhere = windows(codec, data.len() > 1),
    );
    text
}

/// What to use where there is no shell with gunzip and sha256sum.
fn windows(codec: Codec, several: bool) -> String {
    let unpack = match codec {
        Codec::Gzip => "7-Zip, or python -m gzip -d FILE, unpacks a file that ends in .gz",
        Codec::Zstd => {
            "7-Zip unpacks a file that ends in .gz, zstd -d FILE (the program zstd for Windows) one that ends in .zst"
        }
    };
    let load = if several {
        "psql -X -v ON_ERROR_STOP=1 -d restored -f FILE1.sql -f FILE2.sql and so on, all files in the order above"
    } else {
        "psql -X -v ON_ERROR_STOP=1 -d restored -f FILE.sql"
    };
    format!(
        "On Windows, which has no gunzip and no sha256sum: certutil -hashfile FILE SHA256 shows what step 1 compares.\n\
         {unpack}.\n\
         Then load it with {load}.\n\
         Where a command above has single quotes, cmd.exe wants double ones around the whole statement.\n"
    )
}

fn one_line(name: &str) -> String {
    name.replace(['\n', '\r'], " ")
}
