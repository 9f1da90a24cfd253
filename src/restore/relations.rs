//! The tables of the target once the definitions are there, and which belong together: partitions and heirs are locked
//! with their parents.

use super::graph::LockId;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::postgres::Client;
use crate::script::Relation;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One table of the target.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) id: LockId,
    /// Whether it is an ordinary table, no partitioned or foreign one, that the role may empty.
    pub(super) plain: bool,
    /// Whether rows for it end up in its partitions.
    pub(super) routes: bool,
    /// Whether others are its partitions or heirs.
    pub(super) has_children: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Relations {
    tables: BTreeMap<Relation, Table>,
    /// Of each table the first of its family.
    families: Vec<LockId>,
    members: BTreeMap<LockId, Arc<Vec<LockId>>>,
}

#[derive(Deserialize)]
struct Answer {
    tables: Vec<(String, String, String)>,
    /// Parent and child, by their place in `tables`, from 1.
    inherits: Vec<(usize, usize)>,
}

const QUERY: &str = "with t as (select c.oid, n.nspname, c.relname, case when c.relkind <> 'r' then c.relkind::text \
      when pg_catalog.has_table_privilege(c.oid, 'TRUNCATE') then 'r' else '-' end as kind, \
    row_number() over (order by c.oid) as number \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where c.relkind in ('r', 'p', 'm', 'f') and c.oid >= 16384 and n.nspname !~ '^pg_toast') \
    select json_build_object( \
      'tables', (select coalesce(json_agg(json_build_array(nspname, relname, kind) order by number), '[]') from t), \
      'inherits', (select coalesce(json_agg(json_build_array(p.number, c.number)), '[]') from pg_catalog.pg_inherits i \
         join t p on p.oid = i.inhparent join t c on c.oid = i.inhrelid));";

impl Relations {
    /// Asks the target.
    pub(super) async fn ask(client: &Client, cancel: &Cancel) -> Result<Self> {
        let Answer { tables, inherits } = client.query_json(QUERY, cancel).await?;
        let pairs: Vec<(usize, usize)> =
            inherits.into_iter().filter_map(|(p, c)| Some((p.checked_sub(1)?, c.checked_sub(1)?))).collect();
        Ok(Self::new(tables, &pairs))
    }

    /// Of tables (schema, name, kind), and which is the parent of which by their places.
    pub(super) fn new(tables: Vec<(String, String, String)>, inherits: &[(usize, usize)]) -> Self {
        let mut families: Vec<usize> = (0..tables.len()).collect();
        let mut parents = vec![false; tables.len()];
        for (parent, child) in inherits {
            let (a, b) = (root(&families, *parent), root(&families, *child));
            if let Some(family) = families.get_mut(a.max(b)) {
                *family = a.min(b);
            }
            if let Some(has) = parents.get_mut(*parent) {
                *has = true;
            }
        }
        let mut relations = Self::default();
        let mut members: BTreeMap<LockId, Vec<LockId>> = BTreeMap::new();
        for (place, ((schema, name, kind), has_children)) in tables.into_iter().zip(parents).enumerate() {
            let id = place as LockId;
            let family = root(&families, place) as LockId;
            relations.families.push(family);
            members.entry(family).or_default().push(id);
            relations
                .tables
                .insert((schema, name), Table { id, plain: kind == "r", routes: kind == "p", has_children });
        }
        relations.members = members.into_iter().map(|(family, members)| (family, Arc::new(members))).collect();
        relations
    }

    pub(super) fn table(&self, name: &Relation) -> Option<&Table> {
        self.tables.get(name)
    }

    /// The family of a table: the number of its first member.
    pub(super) fn family_of(&self, table: LockId) -> LockId {
        self.families.get(table as usize).copied().unwrap_or(table)
    }

    /// All tables of the family of `table`, itself among them.
    pub(super) fn members(&self, table: LockId) -> Arc<Vec<LockId>> {
        self.members.get(&self.family_of(table)).map_or_else(|| Arc::new(vec![table]), Arc::clone)
    }
}

fn root(families: &[usize], mut place: usize) -> usize {
    while let Some(next) = families.get(place).filter(|next| **next != place) {
        place = *next;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_partitions_and_heirs_of_several_are_one_family() {
        let table = |name: &str| ("s".to_owned(), name.to_owned(), "r".to_owned());
        let names = ["alone", "p", "p1", "p11", "a", "b", "ab"].map(table).to_vec();
        let relations = Relations::new(names, &[(2, 3), (1, 2), (5, 6), (4, 6)]);
        let id = |name: &str| relations.table(&("s".to_owned(), name.to_owned())).unwrap().id;
        let family = |name: &str| relations.members(id(name)).to_vec();
        assert_eq!((family("alone"), family("p11"), family("p")), (vec![0], vec![1, 2, 3], vec![1, 2, 3]));
        assert_eq!((family("a"), family("b")), (vec![4, 5, 6], vec![4, 5, 6]));
        let has_children = |name: &str| relations.table(&("s".to_owned(), name.to_owned())).unwrap().has_children;
        assert!(has_children("p") && has_children("p1") && !has_children("p11"));
    }
}
