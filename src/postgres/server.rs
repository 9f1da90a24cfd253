//! What a server says about itself and a database: version, properties, extensions, size.

use super::{Client, DatabaseProperties, Extension, Privilege, Server, Setting};
use crate::cancel::Cancel;
use crate::error::Result;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What was found out about a database and its server.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The database's name, as the server spells it.
    pub database: String,
    /// What the server's clock said, to the second.
    pub now: DateTime<Utc>,
    /// The role that is connected.
    pub user: String,
    /// Whether that role is a superuser.
    pub superuser: bool,
    /// The server.
    pub server: Server,
    /// The database's properties.
    pub properties: DatabaseProperties,
    /// Its extensions.
    pub extensions: Vec<Extension>,
    /// Its size on disk in bytes.
    pub size_bytes: u64,
    /// The size of its tables without their indexes in bytes: an estimate of the dump's.
    pub table_bytes: u64,
    /// Settings that change how values are written in a dump.
    pub output_settings: BTreeMap<String, String>,
}

/// As the query answers.
#[derive(Deserialize)]
struct Answer {
    database: String,
    now: i64,
    user: String,
    superuser: bool,
    version: String,
    version_num: u32,
    may_control: bool,
    standby: bool,
    bootstrap_role: String,
    database_oid: u32,
    row: BTreeMap<String, serde_json::Value>,
    owner: String,
    encoding: String,
    tablespace: String,
    comment: Option<String>,
    settings: Option<Vec<SettingRow>>,
    privileges: Option<Vec<Privilege>>,
    extensions: Vec<Extension>,
    size_bytes: u64,
    table_bytes: u64,
    output_settings: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct SettingRow {
    role: Option<String>,
    setting: String,
}

/// `to_jsonb` of the whole row: columns on locales came and went between 14 and 18.
const INSPECT: &str = "
select json_build_object(
  'database', d.datname, 'user', current_user,
  'now', extract(epoch from pg_catalog.clock_timestamp())::bigint,
  'superuser', (select rolsuper from pg_catalog.pg_roles where rolname = current_user),
  'version', current_setting('server_version'), 'version_num', current_setting('server_version_num')::int,
  'may_control', has_function_privilege('pg_catalog.pg_control_system()', 'execute'),
  'standby', pg_catalog.pg_is_in_recovery(),
  'bootstrap_role', pg_catalog.pg_get_userbyid(10),
  'database_oid', d.oid::bigint, 'row', to_jsonb(d) - 'datacl', 'owner', pg_catalog.pg_get_userbyid(d.datdba),
  'encoding', pg_catalog.pg_encoding_to_char(d.encoding),
  'tablespace', (select spcname from pg_catalog.pg_tablespace t where t.oid = d.dattablespace),
  'comment', pg_catalog.shobj_description(d.oid, 'pg_database'),
  'settings', (select json_agg(json_build_object('role', r.rolname, 'setting', c))
     from pg_catalog.pg_db_role_setting s left join pg_catalog.pg_roles r on r.oid = s.setrole, unnest(s.setconfig) c
     where s.setdatabase = d.oid),
  'privileges', (select json_agg(json_build_object('grantor', pg_catalog.pg_get_userbyid(a.grantor),
       'grantee', case when a.grantee = 0 then null else pg_catalog.pg_get_userbyid(a.grantee) end,
       'privilege', a.privilege_type, 'grantable', a.is_grantable))
     from pg_catalog.aclexplode(d.datacl) a),
  'extensions', (select coalesce(json_agg(json_build_object('name', extname, 'version', extversion) order by extname), '[]')
     from pg_catalog.pg_extension),
  'size_bytes', pg_catalog.pg_database_size(d.oid),
  'table_bytes', (select coalesce(sum(c.relpages), 0)::bigint * current_setting('block_size')::bigint
     from pg_catalog.pg_class c where c.relkind in ('r', 't') and c.oid >= 16384),
  'output_settings', json_build_object('bytea_output', current_setting('bytea_output'),
     'xmlbinary', current_setting('xmlbinary'), 'lc_monetary', current_setting('lc_monetary')))
from pg_catalog.pg_database d where d.datname = pg_catalog.current_database();";

/// Asks the server everything that a backup records about it.
pub async fn inspect(client: &Client, cancel: &Cancel) -> Result<Inspection> {
    let answer: Answer = client.query_json(INSPECT, cancel).await?;
    let system_identifier = if answer.may_control {
        let query = "select system_identifier from pg_catalog.pg_control_system();";
        Some(client.query(query, cancel).await?)
    } else {
        None
    };
    let field = |name: &str| answer.row.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    // Providers have one letter since 15; before there was only libc.
    let provider = match field("datlocprovider").as_deref() {
        Some("i") => "icu",
        Some("b") => "builtin",
        _ => "libc",
    };
    let split = |row: SettingRow| {
        let (name, value) = row.setting.split_once('=').unwrap_or((&row.setting, ""));
        Setting { role: row.role, name: name.to_owned(), value: value.to_owned() }
    };
    let mut settings: Vec<Setting> = answer.settings.unwrap_or_default().into_iter().map(split).collect();
    settings.sort();
    let privileges = answer.privileges.map(|mut privileges| {
        privileges.sort();
        privileges
    });
    Ok(Inspection {
        database: answer.database,
        // A time that no calendar holds is a clock that is wrong.
        now: DateTime::from_timestamp(answer.now, 0).unwrap_or_default(),
        user: answer.user,
        superuser: answer.superuser,
        server: Server {
            version: answer.version,
            version_num: answer.version_num,
            system_identifier,
            database_oid: answer.database_oid,
            bootstrap_role: answer.bootstrap_role,
            standby: answer.standby,
        },
        properties: DatabaseProperties {
            owner: answer.owner,
            encoding: answer.encoding,
            locale_provider: provider.to_owned(),
            collate: field("datcollate").unwrap_or_default(),
            ctype: field("datctype").unwrap_or_default(),
            locale: field("datlocale").or_else(|| field("daticulocale")),
            icu_rules: field("daticurules"),
            tablespace: answer.tablespace,
            connection_limit: answer.row.get("datconnlimit").and_then(serde_json::Value::as_i64).unwrap_or(-1),
            comment: answer.comment,
            settings,
            privileges,
        },
        extensions: answer.extensions,
        size_bytes: answer.size_bytes,
        table_bytes: answer.table_bytes,
        output_settings: answer.output_settings,
    })
}

/// The server's version as a number, e.g. 170005, asked before anything else: it decides which programs are needed.
pub async fn version_num(client: &Client, cancel: &Cancel) -> Result<u32> {
    client.query_json("select current_setting('server_version_num')::int;", cancel).await
}

/// The databases of the server that allow connections and are no templates, in order of their names.
pub async fn databases(client: &Client, cancel: &Cancel) -> Result<Vec<String>> {
    let query = "select coalesce(json_agg(datname order by datname), '[]') from pg_catalog.pg_database \
                 where datallowconn and not datistemplate;";
    client.query_json(query, cancel).await
}

/// Leaves out the tables of extensions, whose rows pg_dump does not dump unless the extension asks for it.
const DUMPED: &str = "not exists (select from pg_catalog.pg_depend d join pg_catalog.pg_extension e on e.oid = d.refobjid \
                      where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e' \
                      and d.refclassid = 'pg_catalog.pg_extension'::regclass \
                      and not coalesce(c.oid = any(e.extconfig), false))";

/// Tables whose rows the role may not read, as `schema.table`, quoted where needed.
pub async fn unreadable_tables(client: &Client, cancel: &Cancel) -> Result<Vec<String>> {
    let query = format!(
        "select coalesce(json_agg(c.oid::regclass::text order by 1), '[]') from \
         (select c.oid, n.nspname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
          where c.relkind in ('r', 'S', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' \
          and not (has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')) and {DUMPED}) c;"
    );
    client.query_json(&format!("set search_path = '';{query}"), cancel).await
}

/// What may get in the way of a dump, as it is now.
#[derive(Debug, Clone, Deserialize)]
pub struct Checkup {
    /// The version of TLS and the cipher that protect this very connection.
    pub tls: Option<String>,
    /// Tables with policies that hide rows from the role, as `schema.table`: pg_dump refuses them.
    pub row_security: Vec<String>,
    /// How many other sessions have been in one transaction for more than an hour, as far as the role may see.
    pub long_transactions: u64,
    /// The server process that answered.
    backend: u32,
    /// Whether two statements of one session were answered by two server processes: a pooler changes them between
    /// transactions.
    #[serde(skip)]
    pub pooled: bool,
}

/// Asks what may get in the way of a dump. Takes no lock on any table, so that it does not wait for one.
pub async fn checkup(client: &Client, cancel: &Cancel) -> Result<Checkup> {
    let query = format!(
        "set search_path = ''; select pg_catalog.pg_backend_pid();\n\
         select json_build_object( \
         'tls', (select s.version || ', ' || s.cipher from pg_catalog.pg_stat_ssl s \
          where s.pid = pg_catalog.pg_backend_pid() and s.ssl), \
         'row_security', (select coalesce(json_agg(c.oid::regclass::text order by 1), '[]') from pg_catalog.pg_class c \
          where c.relkind in ('r', 'p') and c.relrowsecurity and pg_catalog.row_security_active(c.oid) and {DUMPED}), \
         'long_transactions', (select count(*) from pg_catalog.pg_stat_activity a \
          where a.datname = current_database() and a.pid <> pg_catalog.pg_backend_pid() \
          and a.xact_start < now() - interval '1 hour'), \
         'backend', pg_catalog.pg_backend_pid());"
    );
    let answer = client.query(&query, cancel).await?;
    let (first, rest) = answer.split_once('\n').unwrap_or_default();
    let mut checkup: Checkup = client.read_json(rest)?;
    checkup.pooled = first.trim() != checkup.backend.to_string();
    Ok(checkup)
}

/// The names of the extensions that databases of the server can have.
pub async fn available_extensions(client: &Client, cancel: &Cancel) -> Result<BTreeSet<String>> {
    let query = "select coalesce(json_agg(name), '[]') from pg_catalog.pg_available_extensions;";
    client.query_json(query, cancel).await
}

/// Sessions that hold an exclusive lock on a table of this database: `table`, `pid`, `who`, `since`.
#[derive(Debug, Clone, Deserialize)]
pub struct Blocker {
    /// The table.
    pub table: String,
    /// The session's process id on the server.
    pub pid: i64,
    /// Its role and application.
    pub who: String,
    /// When its transaction began.
    pub since: Option<String>,
}

/// Who keeps a dump from reading tables.
pub async fn blockers(client: &Client, cancel: &Cancel) -> Result<Vec<Blocker>> {
    let query = "select coalesce(json_agg(json_build_object('table', l.relation::regclass::text, 'pid', l.pid, \
                 'who', coalesce(a.usename, '?') || coalesce(' (' || nullif(a.application_name, '') || ')', ''), \
                 'since', a.xact_start::text)), '[]') \
                 from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a on a.pid = l.pid \
                 where l.locktype = 'relation' and l.granted and l.mode = 'AccessExclusiveLock' \
                 and l.database = (select oid from pg_catalog.pg_database where datname = current_database()) \
                 and l.pid <> pg_catalog.pg_backend_pid();";
    client.query_json(&format!("set search_path = '';{query}"), cancel).await
}
