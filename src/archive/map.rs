//! Where in an archive a stretch of SQL is, without going through all its members.

use super::members::{Member, Members, MembersIter};

/// A place is remembered for each so many members.
const REMEMBERED: usize = 256;

/// The members of one stored file, found by where their SQL or their stored bytes are.
#[derive(Debug)]
pub struct MemberMap {
    places: Vec<Place>,
    sql_bytes: u64,
}

/// The beginning of a member, and the members from it on.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where its SQL begins in the file's SQL.
    pub sql: u64,
    /// Where it begins in the stored file.
    pub stored: u64,
    /// Its number, from 0.
    pub number: u64,
    rest: MembersIter,
}

impl Place {
    /// The member here; `None` behind the last.
    pub fn member(&self) -> Option<Member> {
        self.rest.clone().next()
    }

    /// Goes on to the next member; tells which was passed.
    pub fn pass(&mut self) -> Option<Member> {
        let member = self.rest.next()?;
        self.sql = self.sql.saturating_add(member.sql_bytes);
        self.stored = self.stored.saturating_add(member.stored_bytes);
        self.number += 1;
        Some(member)
    }
}

impl MemberMap {
    /// The map of a file with `members`.
    pub fn new(members: &Members) -> Self {
        let mut place = Place { sql: 0, stored: 0, number: 0, rest: members.iter() };
        let mut places = vec![place.clone()];
        while place.pass().is_some() {
            if place.number.is_multiple_of(REMEMBERED as u64) {
                places.push(place.clone());
            }
        }
        Self { places, sql_bytes: place.sql }
    }

    /// How large the SQL is, in bytes.
    pub fn sql_bytes(&self) -> u64 {
        self.sql_bytes
    }

    /// The member that holds the byte `at` of the SQL; the end if there is none.
    pub fn at_sql(&self, at: u64) -> Place {
        self.find(|place| place.sql <= at, |place, member| place.sql.saturating_add(member.sql_bytes) > at)
    }

    /// The member that holds the byte `at` of the stored file; the end if there is none.
    pub fn at_stored(&self, at: u64) -> Place {
        self.find(|place| place.stored <= at, |place, member| place.stored.saturating_add(member.stored_bytes) > at)
    }

    fn find(&self, before: impl Fn(&Place) -> bool, holds: impl Fn(&Place, Member) -> bool) -> Place {
        let after = self.places.partition_point(before);
        // The first place is before everything, and `new` puts it there.
        let found = self.places.get(after.saturating_sub(1)).or_else(|| self.places.first()).cloned();
        let mut place = found.unwrap_or_else(|| Place { sql: 0, stored: 0, number: 0, rest: Members::new().iter() });
        while let Some(member) = place.member()
            && !holds(&place, member)
        {
            place.pass();
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_found_in_its_member() {
        let sizes: Vec<(u64, u64)> = (0..1000).map(|n| (n % 5, 1 + n % 3)).collect();
        let member = |&(sql_bytes, stored_bytes)| Member { sql_bytes, stored_bytes, digest: None };
        let map = MemberMap::new(&sizes.iter().map(member).collect());
        let (mut sql, mut stored) = (0, 0);
        for (number, (sql_bytes, stored_bytes)) in sizes.iter().enumerate() {
            for at in sql..sql + sql_bytes {
                assert_eq!((map.at_sql(at).number, map.at_sql(at).stored), (number as u64, stored));
            }
            for at in stored..stored + stored_bytes {
                assert_eq!((map.at_stored(at).number, map.at_stored(at).sql), (number as u64, sql));
            }
            (sql, stored) = (sql + sql_bytes, stored + stored_bytes);
        }
        assert_eq!((map.sql_bytes(), map.at_sql(sql).number, map.at_sql(u64::MAX).member()), (sql, 1000, None));
        assert_eq!(MemberMap::new(&Members::new()).at_sql(0).member(), None);
    }
}
