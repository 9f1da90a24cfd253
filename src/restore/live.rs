//! A look at a live database whose name another one is to get: who is connected, and what keeps it from being renamed.

use super::swap::MAY_END;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::postgres::Client;
use crate::script::literal;
use serde::Deserialize;

/// A live database.
#[derive(Debug, Clone, Deserialize)]
pub struct Live {
    /// Its oid.
    pub oid: u32,
    /// Its owner.
    pub owner: String,
    /// Its comment.
    pub comment: Option<String>,
    /// The role that pgkeep is on the server.
    pub me: String,
    /// Whether that role may rename it: as a superuser, or with CREATEDB and the rights of the owner.
    pub may_rename: bool,
    /// Who is connected.
    pub sessions: Vec<Sessions>,
    /// Prepared transactions: as long as they are there, it cannot be renamed.
    pub prepared: Vec<String>,
    /// Logical replication slots, which stay with it.
    pub slots: Vec<String>,
    /// Subscriptions, which stay with it.
    pub subscriptions: Vec<String>,
    /// Its size on disk, in words, where the role may know it.
    pub size: Option<String>,
}

/// Sessions of one role and application.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Sessions {
    /// The role, or what a worker of the server is called.
    pub who: String,
    /// What the application calls itself.
    pub application: Option<String>,
    /// How many.
    pub count: u64,
    /// Whether the role that pgkeep is may end them.
    pub may_end: bool,
}

impl Sessions {
    /// `3 of ana (psql)`.
    pub fn describe(&self) -> String {
        let application = self.application.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        format!("{} of {}{application}", self.count, self.who)
    }
}

impl Live {
    /// Number of sessions.
    pub fn connected(&self) -> u64 {
        self.sessions.iter().map(|sessions| sessions.count).sum()
    }
}

/// Looks at the database `name`, which must be there.
pub async fn live(maintenance: &Client, name: &str, cancel: &Cancel) -> Result<Live> {
    let query = format!(
        "select json_build_object('oid', d.oid::bigint, 'owner', pg_catalog.pg_get_userbyid(d.datdba), \
         'comment', pg_catalog.shobj_description(d.oid, 'pg_database'), 'me', me.rolname, \
         'may_rename', me.rolsuper or (me.rolcreatedb and pg_catalog.pg_has_role(d.datdba, 'usage')), \
         'sessions', (select coalesce(json_agg(s), '[]') from (select coalesce(a.usename, a.backend_type, 'the server') as who, \
            nullif(coalesce(nullif(a.application_name, ''), a.backend_type), 'client backend') as application, \
            count(*) as count, bool_and(coalesce(a.backend_type = 'autovacuum worker', false) or {MAY_END}) as may_end \
            from pg_catalog.pg_stat_activity a where a.datid = d.oid and a.pid <> pg_catalog.pg_backend_pid() \
            group by 1, 2 order by 3 desc, 1, 2) s), \
         'prepared', (select coalesce(json_agg(gid order by prepared), '[]') from pg_catalog.pg_prepared_xacts \
            where database = d.datname), \
         'slots', (select coalesce(json_agg(slot_name order by slot_name), '[]') from pg_catalog.pg_replication_slots \
            where database = d.datname), \
         'subscriptions', (select coalesce(json_agg(subname order by subname), '[]') from pg_catalog.pg_subscription \
            where subdbid = d.oid), \
         'size', case when pg_catalog.has_database_privilege(d.oid, 'connect') \
            or pg_catalog.pg_has_role('pg_read_all_stats', 'usage') \
            then pg_catalog.pg_size_pretty(pg_catalog.pg_database_size(d.oid)) end) \
         from pg_catalog.pg_database d, (select * from pg_catalog.pg_roles where rolname = current_user) me \
         where d.datname = {};",
        literal(name)
    );
    maintenance.query_json(&query, cancel).await
}
