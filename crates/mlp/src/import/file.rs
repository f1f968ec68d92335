//! Files of limited size.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::MlpError;

/// Largest file that is read.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 30;

/// A regular file of limited size, whole.
pub(crate) fn read_limited(path: &Path) -> Result<Vec<u8>, MlpError> {
    let read = || {
        let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        // Before it is opened: opening a pipe waits for a writer.
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return refused("not a regular file");
        }
        if metadata.len() > MAX_FILE_BYTES {
            return refused("larger than 1 GiB, the limit for weights");
        }
        let mut bytes = Vec::new();
        // Should the file grow meanwhile, its end is cut off and noticed as damage.
        File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| MlpError::File { action: "read", path: path.into(), source })
}
