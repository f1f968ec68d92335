//! Wrapping that puts a fuzzer's bytes behind checksums, which it would never guess.

/// A ZIP archive of stored members (name, bytes).
pub fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut list) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let size = (content.len() as u32).to_le_bytes();
        let sum = crc32fast::hash(content).to_le_bytes();
        let common = [&[0; 8][..], &sum, &size, &size, &(name.len() as u16).to_le_bytes(), &[0; 2]].concat();
        let at = (bytes.len() as u32).to_le_bytes();
        list.extend([b"PK\x01\x02\x14\x00\x14\x00", &common[..], &[0; 10], &at, name.as_bytes()].concat());
        bytes.extend([b"PK\x03\x04\x14\x00", &common[..], name.as_bytes(), content].concat());
    }
    let count = (members.len() as u16).to_le_bytes();
    let (length, at) = ((list.len() as u32).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
    bytes.extend(list);
    bytes.extend([b"PK\x05\x06", &[0; 4][..], &count, &count, &length, &at, &[0; 2]].concat());
    bytes
}

/// A checkpoint whose payload is `payload`, as version 1 seals it.
pub fn checkpoint_of(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    [b"PLMPSEST", &1_u32.to_le_bytes()[..], &length, blake3::hash(payload).as_bytes(), payload].concat()
}

/// Two parts of the bytes: the first byte, in 256ths, says where they are cut.
pub fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.split_first() {
        Some((&at, rest)) => rest.split_at(rest.len() * usize::from(at) / 256),
        None => (bytes, bytes),
    }
}
