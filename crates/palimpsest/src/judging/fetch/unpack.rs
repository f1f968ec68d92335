//! Packed bytes to files whose checksums are pinned: all of them right, or an error and no file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use palimpsest_runs::files::write_whole;
use sha2::{Digest, Sha256};

use super::sources::{Download, Packing, Pinned};

/// Why packed bytes give no files.
#[derive(Debug)]
pub(super) enum Unfit {
    /// They are not what they should be: another mirror may have them.
    Wrong(String),
    /// A file cannot be written.
    Disk(anyhow::Error),
}

/// Largest file that is unpacked.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Most entries of an archive that are looked at.
const MAX_ENTRIES: usize = 1000;

/// Unpacks `packed` and writes the files of `download` into `folder`, each whole or not at all.
pub(super) fn unpack(packed: impl Read, download: &Download, folder: &Path) -> Result<(), Unfit> {
    let unpacked = MultiGzDecoder::new(packed);
    let wrong = |error: io::Error| Unfit::Wrong(format!("{} cannot be unpacked: {error}", download.name));
    match (download.packing, &download.files[..]) {
        (Packing::Gz, [file]) => keep(file, read(unpacked).map_err(wrong)?, folder),
        (Packing::Gz, _) => Err(Unfit::Wrong(format!("{} holds one file", download.name))),
        (Packing::TarGz, files) => {
            let mut left: Vec<&Pinned> = files.iter().collect();
            let mut archive = tar::Archive::new(unpacked);
            for entry in archive.entries().map_err(wrong)?.take(MAX_ENTRIES) {
                let entry = entry.map_err(wrong)?;
                let path = entry.path().map_err(wrong)?.into_owned();
                let is_it = |file: &&Pinned| path.file_name().is_some_and(|name| *name == *file.name);
                // Nothing is written where the archive says: only known names are taken, into one folder.
                let is_file = entry.header().entry_type().is_file();
                let Some(at) = left.iter().position(|file| is_file && is_it(file)) else { continue };
                keep(left.swap_remove(at), read(entry).map_err(wrong)?, folder)?;
                if left.is_empty() {
                    return Ok(());
                }
            }
            let names: Vec<&str> = left.iter().map(|file| &file.name[..]).collect();
            Err(Unfit::Wrong(format!("{} does not hold {}", download.name, names.join(", "))))
        }
    }
}

/// Whether `folder` holds the file, plain or by gzip, right to the last byte.
pub(super) fn is_there(file: &Pinned, folder: &Path) -> bool {
    let open = |name: &str| File::open(folder.join(name)).ok().filter(|_| folder.join(name).is_file());
    let plain = open(&file.name).map(read);
    let packed = open(&format!("{}.gz", file.name)).map(|packed| read(MultiGzDecoder::new(packed)));
    let is_right = |bytes: io::Result<Vec<u8>>| bytes.is_ok_and(|bytes| sha256(&bytes) == file.sha256);
    // Readers take the plain one where both are there.
    plain.or(packed).is_some_and(is_right)
}

fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("it holds more than 256 MiB"));
    }
    Ok(bytes)
}

fn keep(file: &Pinned, bytes: Vec<u8>, folder: &Path) -> Result<(), Unfit> {
    let got = sha256(&bytes);
    if got != file.sha256 {
        let Pinned { name, sha256 } = file;
        return Err(Unfit::Wrong(format!("{name} has the SHA-256 {got} where {sha256} is pinned")));
    }
    write_whole(&folder.join(&file.name), &bytes).map_err(|error| Unfit::Disk(error.into()))
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
