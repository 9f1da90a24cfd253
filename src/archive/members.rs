//! The sizes of an archive's members, packed: a terabyte of SQL has half a million.

use super::codec::MEMBER_BYTES;
use crate::packed::{self, Blocks, Place};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;

/// So many members in a row share a digest, which the last of them has: a digest takes as much room as the rest of some members
/// together. A part of an archive is read in such runs, of 4 MiB of SQL.
pub const DIGESTED_TOGETHER: u64 = 2;

/// Longer runs than this are not read by their digest: too much would have to be in memory at once.
const LONGEST_RUN: u64 = 16;

/// One member. Its place is the sum of those before it. As JSON a list: `[sql_bytes, stored_bytes, "digest"]`, of members
/// without a digest `[sql_bytes, stored_bytes]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Listed", into = "Listed")]
pub struct Member {
    /// Its size in the SQL, in bytes.
    pub sql_bytes: u64,
    /// Its size in the stored file, in bytes.
    pub stored_bytes: u64,
    /// What its stored bytes, and those of the members before it that have no digest, are checked by where they are read
    /// without the rest of the file.
    pub digest: Option<MemberDigest>,
}

/// The first 16 bytes of the SHA-256 of members as they are stored; as text 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MemberDigest(u128);

impl MemberDigest {
    /// What was fed to `digest`.
    pub fn of(digest: Sha256) -> Self {
        let digest: [u8; 32] = digest.finalize().into();
        Self(digest.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte)))
    }
}

impl TryFrom<String> for MemberDigest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = u128::from_str_radix(&text, 16).ok().filter(|_| text.len() == 32 && !text.starts_with('+'));
        number.map(Self).ok_or_else(|| format!("{text:?} is no digest of a member"))
    }
}

impl From<MemberDigest> for String {
    fn from(digest: MemberDigest) -> Self {
        format!("{:032x}", digest.0)
    }
}

/// A member as the index lists it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Listed {
    Digested(u64, u64, MemberDigest),
    Sized(u64, u64),
}

impl From<Listed> for Member {
    fn from(listed: Listed) -> Self {
        let (sql_bytes, stored_bytes, digest) = match listed {
            Listed::Digested(sql_bytes, stored_bytes, digest) => (sql_bytes, stored_bytes, Some(digest)),
            Listed::Sized(sql_bytes, stored_bytes) => (sql_bytes, stored_bytes, None),
        };
        Self { sql_bytes, stored_bytes, digest }
    }
}

impl From<Member> for Listed {
    fn from(Member { sql_bytes, stored_bytes, digest }: Member) -> Self {
        match digest {
            Some(digest) => Self::Digested(sql_bytes, stored_bytes, digest),
            None => Self::Sized(sql_bytes, stored_bytes),
        }
    }
}

/// Members in their order, some ten bytes each. They are the same, and the same JSON, as a list of them; cloning copies
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
        packed::number(&mut record, u64::from(member.digest.is_some()));
        if let Some(MemberDigest(digest)) = member.digest {
            packed::wide(&mut record, digest);
        }
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

    /// Whether every member is covered by a digest, and none by one of so many that reading them would take much.
    pub fn are_digested(&self) -> bool {
        let mut open = 0;
        let bounded = self.iter().all(|member| {
            open = if member.digest.is_some() { 0 } else { open + 1 };
            open < LONGEST_RUN
        });
        bounded && open == 0
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

impl fmt::Debug for MembersIter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} members", self.left)
    }
}

impl Iterator for MembersIter {
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        self.left = self.left.checked_sub(1)?;
        let mut reader = self.packed.blocks.reader_at(self.place);
        let missing = reader.number();
        let missing = (missing >> 1) ^ (missing & 1).wrapping_neg();
        let stored_bytes = reader.number();
        let digest = (reader.number() != 0).then(|| MemberDigest(reader.wide()));
        self.place = reader.place();
        Some(Member { sql_bytes: (MEMBER_BYTES as u64).wrapping_sub(missing), stored_bytes, digest })
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
            sizes in prop::collection::vec((any::<u64>(), any::<u64>(), 0u32..64, any::<Option<u128>>()), 0..6_000),
        ) {
            let member = |(sql, stored, shift, digest): (u64, u64, u32, Option<u128>)| Member {
                sql_bytes: sql >> shift,
                stored_bytes: stored >> shift,
                digest: digest.map(MemberDigest),
            };
            let all: Vec<Member> = sizes.into_iter().map(member).collect();
            let packed: Members = all.iter().copied().collect();
            prop_assert_eq!(packed.len(), all.len());
            prop_assert!(packed.iter().eq(all.iter().copied()));
            let json = serde_json::to_string(&all).unwrap();
            prop_assert_eq!(&serde_json::to_string(&packed).unwrap(), &json);
            prop_assert!(serde_json::from_str::<Members>(&json).unwrap() == packed);
        }
    }

    #[test]
    fn a_digest_is_the_first_half_of_sha256() {
        let of = |stored: &[u8]| MemberDigest::of(Sha256::new_with_prefix(stored));
        let text = String::from(of(b"abc"));
        assert_eq!(text, "ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(MemberDigest::try_from(text), Ok(of(b"abc")));
        assert!(MemberDigest::try_from("+a7816bf8f01cfea414140de5dae2223".to_owned()).is_err());
        let old: Member = serde_json::from_str("[5,3]").unwrap();
        assert_eq!((old.sql_bytes, old.stored_bytes, old.digest), (5, 3, None));
    }
}
