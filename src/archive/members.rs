//! The sizes of an archive's members, packed: a terabyte of SQL has half a million.

use super::codec::MEMBER_BYTES;
use crate::packed::{self, Blocks, Place};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// One member. Its place is the sum of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct Member {
    /// Its size in the SQL, in bytes.
    pub sql_bytes: u64,
    /// Its size in the stored file, in bytes.
    pub stored_bytes: u64,
}

impl From<(u64, u64)> for Member {
    fn from((sql_bytes, stored_bytes): (u64, u64)) -> Self {
        Self { sql_bytes, stored_bytes }
    }
}

impl From<Member> for (u64, u64) {
    fn from(member: Member) -> Self {
        (member.sql_bytes, member.stored_bytes)
    }
}

/// Members in their order, four to five bytes each. They are the same, and the same JSON, as a list of them; cloning copies
/// nothing.
#[derive(Clone, Default)]
pub struct Members {
    packed: Arc<Packed>,
}

#[derive(Clone, Default)]
struct Packed {
    blocks: Blocks,
    count: usize,
}

impl Members {
    /// No members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `member`.
    pub fn push(&mut self, member: Member) {
        let packed = Arc::make_mut(&mut self.packed);
        let mut record = Vec::with_capacity(16);
        // Nearly all are full but for a part of a line.
        let missing = (MEMBER_BYTES as u64).wrapping_sub(member.sql_bytes).cast_signed();
        packed::number(&mut record, (missing << 1 ^ missing >> 63).cast_unsigned());
        packed::number(&mut record, member.stored_bytes);
        packed.blocks.push(&record);
        packed.count += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.packed.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Unpacks them one after the other.
    pub fn iter(&self) -> MembersIter {
        MembersIter { packed: Arc::clone(&self.packed), place: Place::default(), left: self.len() }
    }
}

/// Unpacks [`Members`], and keeps them for as long as it needs them.
#[derive(Clone)]
pub struct MembersIter {
    packed: Arc<Packed>,
    place: Place,
    left: usize,
}

impl Iterator for MembersIter {
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        self.left = self.left.checked_sub(1)?;
        let mut reader = self.packed.blocks.reader_at(self.place);
        let missing = reader.number();
        let missing = (missing >> 1) ^ (missing & 1).wrapping_neg();
        let stored_bytes = reader.number();
        self.place = reader.place();
        Some(Member { sql_bytes: (MEMBER_BYTES as u64).wrapping_sub(missing), stored_bytes })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for MembersIter {}

impl IntoIterator for &Members {
    type Item = Member;
    type IntoIter = MembersIter;

    fn into_iter(self) -> MembersIter {
        self.iter()
    }
}

impl FromIterator<Member> for Members {
    fn from_iter<I: IntoIterator<Item = Member>>(members: I) -> Self {
        let mut all = Self::new();
        members.into_iter().for_each(|member| all.push(member));
        all
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other)
    }
}

impl Eq for Members {}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of members")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Members, A::Error> {
                let mut members = Members::new();
                while let Some(member) = list.next_element()? {
                    members.push(member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_seq(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn members_come_back_as_they_were(
            sizes in prop::collection::vec((any::<u64>(), any::<u64>(), 0u32..64), 0..6_000),
        ) {
            let all: Vec<Member> =
                sizes.into_iter().map(|(sql, stored, shift)| Member::from((sql >> shift, stored >> shift))).collect();
            let packed: Members = all.iter().copied().collect();
            prop_assert_eq!(packed.len(), all.len());
            prop_assert!(packed.iter().eq(all.iter().copied()));
            let json = serde_json::to_string(&all).unwrap();
            prop_assert_eq!(&serde_json::to_string(&packed).unwrap(), &json);
            prop_assert!(serde_json::from_str::<Members>(&json).unwrap() == packed);
        }
    }

    #[test]
    fn a_member_takes_five_bytes() {
        let mut members = Members::new();
        for number in 0..1000 {
            members.push(Member { sql_bytes: MEMBER_BYTES as u64 - number % 200, stored_bytes: 500_000 + number });
        }
        let mut reader = members.packed.blocks.reader();
        let mut bytes = 0;
        while reader.number() != 0 || bytes == 0 {
            bytes += 1;
        }
        assert!(bytes <= 2000);
    }
}
