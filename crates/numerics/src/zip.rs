//! Just enough of the ZIP format for archives of numbers (`.npz`, `.pth`, `.keras`, `skops`): the list of members, and their
//! bytes within a limit.
//!
//! Every size is compared with the bytes at hand before it is used. Names must be unique and the same in both places
//! where the format writes them, so what is shown is what is read.
//!
//! ```
//! use palimpsest_numerics::zip::Archive;
//! let archive = Archive::open(include_bytes!("../fixtures/mixed_compressed.npz"))?;
//! let member = &archive.members()[0];
//! assert_eq!(member.content(&mut 1_000_000)?.len(), member.size());
//! # Ok::<(), palimpsest_numerics::zip::ZipError>(())
//! ```
//!
//! # Source
//! PKWARE, APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12 and 4.3.16. Only what PyTorch and NumPy write below 4 GiB is read:
//! methods 0 (stored) and 8 (deflate), no encryption, no ZIP64.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;

/// Most members of an archive; PyTorch writes one a tensor, the optimizer's included.
const MAX_MEMBERS: usize = 10_000;
/// How much larger than packed a member of more than [`SMALL_BYTES`] may be: trained weights hardly shrink, and a bomb of a few
/// kilobytes is refused before it is unpacked.
const MAX_RATIO: usize = 100;
const SMALL_BYTES: usize = 1 << 20;
const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_BYTES: usize = 30;
/// Most characters shown of a name.
const MAX_SHOWN: usize = 80;

/// What is wrong with an archive, as a sentence that goes on after its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ZipError(String);

impl From<ZipError> for String {
    fn from(error: ZipError) -> Self {
        error.0
    }
}

impl From<&str> for ZipError {
    fn from(problem: &str) -> Self {
        Self(problem.to_owned())
    }
}

/// An archive: its members, in their order.
pub struct Archive<'a> {
    members: Vec<Member<'a>>,
}

/// A member as it lies in the archive.
pub struct Member<'a> {
    name: &'a str,
    packed: &'a [u8],
    flags: usize,
    method: usize,
    crc: usize,
    size: usize,
}

impl<'a> Archive<'a> {
    /// Reads the list of members.
    ///
    /// # Errors
    /// [`ZipError`] when the list is damaged, has more than 10,000 members or two of one name, or is of a ZIP64 archive.
    pub fn open(bytes: &'a [u8]) -> Result<Self, ZipError> {
        let end = find_end(bytes)
            .ok_or("it has no end record; it is truncated or no ZIP archive, so copy it again")?;
        let count = u16_at(end, 10).ok_or_else(outside)?;
        let mut at = u32_at(end, 16).ok_or_else(outside)?;
        if count == usize::from(u16::MAX) || at == u32::MAX as usize {
            return Err("it is a ZIP64 archive; archives below 4 GiB are read".into());
        }
        if count > MAX_MEMBERS {
            return Err(ZipError(format!("{count} members are above the limit of {MAX_MEMBERS}")));
        }
        let (mut members, mut names) = (Vec::new(), BTreeSet::new());
        for _ in 0..count {
            let (member, length) = entry(bytes, at).ok_or_else(outside)??;
            if !names.insert(member.name) {
                return Err(ZipError(format!("two members are called `{}`", shown(member.name))));
            }
            members.push(member);
            at += length;
        }
        // Members that overlap could make a small file cost the time of a huge one.
        if members.iter().map(|member| member.packed.len() as u64).sum::<u64>() > bytes.len() as u64 {
            return Err(
                "its members announce more bytes than the file has; it is truncated or damaged".into()
            );
        }
        Ok(Self { members })
    }

    /// The members in the archive's order.
    pub fn members(&self) -> &[Member<'a>] {
        &self.members
    }

    /// The member of that name, if there is one.
    pub fn member(&self, name: &str) -> Option<&Member<'a>> {
        self.members.iter().find(|member| member.name == name)
    }
}

impl<'a> Member<'a> {
    /// Its name, as it lies in the archive; see [`shown`].
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Bytes it announces to unpack to.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The bytes, checked against their CRC-32. What has to be unpacked is taken from `budget`, in bytes.
    ///
    /// # Errors
    /// [`ZipError`] when the member is damaged, encrypted or packed by another method than deflate, or unpacks to more than the budget or,
    /// above a megabyte, than a hundred times what it takes.
    pub fn content(&self, budget: &mut usize) -> Result<Cow<'a, [u8]>, ZipError> {
        let name = shown(self.name);
        if self.flags & 1 != 0 {
            return Err(ZipError(format!("`{name}` is encrypted")));
        }
        let content = match self.method {
            0 => Cow::Borrowed(self.packed),
            8 => {
                if self.size > *budget {
                    return Err(ZipError(format!(
                        "`{name}` unpacks to {} bytes, above the {budget} that are left of the limit; save without \
                         compression",
                        self.size
                    )));
                }
                if self.size > SMALL_BYTES.max(self.packed.len().saturating_mul(MAX_RATIO)) {
                    return Err(ZipError(format!(
                        "`{name}` unpacks to {} bytes, more than {MAX_RATIO} times what it takes; save without \
                         compression",
                        self.size
                    )));
                }
                // Memory grows with what really comes out, and one byte beyond the announced size stops it.
                let mut unpacked = Vec::new();
                DeflateDecoder::new(self.packed)
                    .take(self.size as u64 + 1)
                    .read_to_end(&mut unpacked)
                    .map_err(|e| {
                        ZipError(format!("`{name}` cannot be unpacked ({e}); the file is damaged"))
                    })?;
                *budget -= unpacked.len().min(*budget);
                Cow::Owned(unpacked)
            }
            other => {
                return Err(ZipError(format!(
                    "`{name}` is packed by method {other}; stored and deflate are read"
                )));
            }
        };
        let mut sum = Crc::new();
        sum.update(&content);
        if content.len() != self.size || sum.sum() as usize != self.crc {
            return Err(ZipError(format!(
                "`{name}` differs from its size or checksum (declared {} bytes); the file is damaged",
                self.size
            )));
        }
        Ok(content)
    }
}

/// The member at a place in the list and the length of its entry; `None` when either lies outside the archive.
fn entry(bytes: &[u8], at: usize) -> Option<Result<(Member<'_>, usize), ZipError>> {
    let entry = record(bytes, at, ENTRY, ENTRY_BYTES)?;
    let name_end = ENTRY_BYTES + u16_at(entry, 28)?;
    let Ok(name) = str::from_utf8(entry.get(ENTRY_BYTES..name_end)?) else {
        return Some(Err("a member's name is not UTF-8".into()));
    };
    let local = record(bytes, u32_at(entry, 42)?, LOCAL, LOCAL_BYTES)?;
    let local_name_end = LOCAL_BYTES + u16_at(local, 26)?;
    if local.get(LOCAL_BYTES..local_name_end)? != name.as_bytes() {
        return Some(Err(ZipError(format!("`{}` has another name where its bytes are", shown(name)))));
    }
    let start = local_name_end + u16_at(local, 28)?;
    let member = Member {
        name,
        packed: local.get(start..start.checked_add(u32_at(entry, 20)?)?)?,
        flags: u16_at(entry, 8)?,
        method: u16_at(entry, 10)?,
        crc: u32_at(entry, 16)?,
        size: u32_at(entry, 24)?,
    };
    Some(Ok((member, name_end + u16_at(entry, 30)? + u16_at(entry, 32)?)))
}

/// A name from a file as it may be printed: escaped and cut.
pub fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if name.chars().nth(MAX_SHOWN).is_some() {
        shown.push_str("..");
    }
    shown
}

/// The end record; it is last but for a comment whose length it states.
fn find_end(bytes: &[u8]) -> Option<&[u8]> {
    let last = bytes.len().checked_sub(END_BYTES)?;
    (last.saturating_sub(usize::from(u16::MAX))..=last).rev().map(|at| &bytes[at..]).find(|end| {
        end.starts_with(END) && u16_at(end, 20).is_some_and(|comment| END_BYTES + comment == end.len())
    })
}

/// The archive from a record on, if the record with that signature fits there.
fn record<'a>(bytes: &'a [u8], at: usize, signature: &[u8], length: usize) -> Option<&'a [u8]> {
    bytes.get(at..).filter(|rest| rest.starts_with(signature) && rest.len() >= length)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

fn outside() -> ZipError {
    "a part of it lies outside the file; it is truncated or damaged, so copy it again".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKED: &[u8] = include_bytes!("../fixtures/mixed_compressed.npz");

    /// The archive with the announced unpacked size of its first member replaced.
    fn announcing(size: u32) -> Vec<u8> {
        let mut bytes = PACKED.to_vec();
        let entry = bytes.windows(4).position(|w| w == ENTRY).unwrap();
        bytes[entry + 24..entry + 28].copy_from_slice(&size.to_le_bytes());
        bytes
    }

    fn first(bytes: &[u8], budget: &mut usize) -> Result<usize, String> {
        Ok(Archive::open(bytes)?.members()[0].content(budget).map(|content| content.len())?)
    }

    #[test]
    fn unpacking_stops_at_the_budget_and_at_the_announced_size() {
        let mut budget = 10_000;
        let size = first(PACKED, &mut budget).unwrap();
        assert_eq!(budget, 10_000 - size);
        assert!(first(PACKED, &mut (size - 1)).unwrap_err().contains("left of the limit"));
        assert!(first(&announcing(u32::MAX), &mut 10_000).unwrap_err().contains("left of the limit"));
        let mut budget = 10_000;
        assert!(first(&announcing(10), &mut budget).unwrap_err().contains("size or checksum"));
        assert_eq!(budget, 10_000 - 11, "one byte more than announced was unpacked");
    }

    #[test]
    fn names_are_unique_and_agree() {
        let end = PACKED.windows(4).rposition(|w| w == END).unwrap();
        let listed = PACKED.windows(4).position(|w| w == ENTRY).unwrap();
        let mut renamed = PACKED.to_vec();
        renamed[listed + ENTRY_BYTES] = b'x';
        assert!(first(&renamed, &mut 10_000).unwrap_err().contains("another name"));
        // The same entry listed twice.
        let mut twice = PACKED[..listed].to_vec();
        let (_, length) = entry(PACKED, listed).unwrap().unwrap();
        twice.extend_from_slice(&PACKED[listed..listed + length].repeat(2));
        twice.extend_from_slice(&PACKED[end..]);
        twice[listed + 2 * length + 10] = 2;
        assert!(Archive::open(&twice).err().unwrap().0.contains("two members"));
    }

    #[test]
    fn archives_with_zip64_marks_or_too_many_members_are_named() {
        let end = PACKED.windows(4).rposition(|w| w == END).unwrap();
        for (count, word) in [(u16::MAX, "ZIP64"), (u16::MAX - 1, "limit of 10000"), (4000, "outside")] {
            let mut bytes = PACKED.to_vec();
            bytes[end + 10..end + 12].copy_from_slice(&count.to_le_bytes());
            assert!(Archive::open(&bytes).err().unwrap().0.contains(word), "{word}");
        }
    }
}
