//! Where in an archive a stretch of SQL is, without going through all its members.

use super::members::{Member, Members, MembersIter};

/// A place is remembered for about so many members.
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
        let mut since = 0;
        while let Some(passed) = place.pass() {
            since += 1;
            if since >= REMEMBERED && passed.digest.is_some() {
                places.push(place.clone());
                since = 0;
            }
        }
        Self { places, sql_bytes: place.sql }
    }

    /// How large the SQL is, in bytes.
    pub fn sql_bytes(&self) -> u64 {
        self.sql_bytes
    }

    /// The first of the members that share a digest with the one that holds the byte `at` of the SQL; the end if there is
    /// none.
    pub fn at_sql(&self, at: u64) -> Place {
        self.find(|place| place.sql <= at, |place, member| place.sql.saturating_add(member.sql_bytes) > at)
    }

    /// The same for the byte `at` of the stored file.
    pub fn at_stored(&self, at: u64) -> Place {
        self.find(|place| place.stored <= at, |place, member| place.stored.saturating_add(member.stored_bytes) > at)
    }

    fn find(&self, before: impl Fn(&Place) -> bool, holds: impl Fn(&Place, Member) -> bool) -> Place {
        let after = self.places.partition_point(before);
        // The first place is before everything, and `new` puts it there.
        let found = self.places.get(after.saturating_sub(1)).or_else(|| self.places.first()).cloned();
        let mut place = found.unwrap_or_else(|| Place { sql: 0, stored: 0, number: 0, rest: Members::new().iter() });
        let mut run = place.clone();
        while let Some(member) = place.member() {
            if holds(&place, member) {
                return run;
            }
            place.pass();
            if member.digest.is_some() {
                run = place.clone();
            }
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::super::members::MemberDigest;
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn every_byte_is_found_in_its_run_of_members() {
        let sizes: Vec<(u64, u64)> = (0..1000).map(|n| (n % 5, 1 + n % 3)).collect();
        let digest = |number: usize| (number % 3 == 2).then(|| MemberDigest::of(Sha256::new()));
        let member = |(number, &(sql_bytes, stored_bytes))| Member { sql_bytes, stored_bytes, digest: digest(number) };
        let map = MemberMap::new(&sizes.iter().enumerate().map(member).collect());
        let (mut sql, mut stored) = (0, 0);
        let mut run = (0, 0, 0);
        for (number, (sql_bytes, stored_bytes)) in sizes.iter().enumerate() {
            if number % 3 == 0 {
                run = (number as u64, sql, stored);
            }
            let found = |place: Place| (place.number, place.sql, place.stored);
            assert!((sql..sql + sql_bytes).all(|at| found(map.at_sql(at)) == run));
            assert!((stored..stored + stored_bytes).all(|at| found(map.at_stored(at)) == run));
            (sql, stored) = (sql + sql_bytes, stored + stored_bytes);
        }
        assert_eq!((map.sql_bytes(), map.at_sql(sql).number, map.at_sql(u64::MAX).member()), (sql, 1000, None));
        assert_eq!(MemberMap::new(&Members::new()).at_sql(0).member(), None);
    }
}
