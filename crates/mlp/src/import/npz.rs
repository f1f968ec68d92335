//! `.npz` archives of `numpy.savez` and `numpy.savez_compressed`: one `.npy` array for each tensor.
//!
//! Arrays whose names are those of layers (`layers.0.weight`, `W0`, `b`, `coefs_0`) or contain a dot make the network.
//! Of others, such as data saved beside it, short ones whose names say something of the training are findings; the
//! rest is named and never looked at.

use palimpsest_numerics::zip::Archive;

use super::assemble::read_as;
use super::chain;
use super::contents::Contents;
use super::finding;
use super::format::Format;
use super::imported::Imported;
use super::naming::shown;
use super::npy;
use super::options::ReadOptions;
use crate::MlpError;

/// Most bytes unpacked from one compressed archive.
pub(super) const MAX_UNPACKED_BYTES: usize = 256 << 20;
/// Largest array that is looked into for a finding.
const MAX_FINDING_BYTES: usize = 1 << 20;

pub(super) const FORMAT: Format = Format { name: ".npz", recognise, read: contents };

fn recognise(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK")
        && Archive::open(bytes)
            .is_ok_and(|archive| archive.members().iter().any(|m| m.name().ends_with(".npy")))
}

/// Reads the bytes of a `.npz` file.
///
/// # Errors
/// [`MlpError::BadWeights`] when the bytes are damaged or unpack to more than 256 MiB or to more than a hundred times
/// their size; [`MlpError::NotANetwork`] when they hold anything but one chain of dense layers;
/// [`MlpError::NotFinite`].
///
/// ```
/// let bytes = include_bytes!("../../fixtures/yardstick.npz");
/// let imported = palimpsest_mlp::import::read_npz(bytes)?;
/// assert_eq!(imported.used, ["W0", "b", "W1", "W2"]);
/// assert_eq!(imported.ignored, ["X", "y", "mean"]);
/// # Ok::<(), palimpsest_mlp::MlpError>(())
/// ```
pub fn read_npz(bytes: &[u8]) -> Result<Imported, MlpError> {
    read_as(FORMAT, bytes, &ReadOptions::default())
}

fn contents<'a>(bytes: &'a [u8], _: &ReadOptions) -> Result<Contents<'a>, String> {
    let archive = Archive::open(bytes)?;
    let mut budget = MAX_UNPACKED_BYTES;
    let mut contents = Contents::default();
    for member in archive.members() {
        match member.name().strip_suffix(".npy") {
            Some(name) if chain::is_part(name) || name.contains(['.', '/']) => {
                contents.tensors.push(npy::array(name, member.content(&mut budget)?)?);
                if name == "b" {
                    contents.assumed.push("`b` is the bias of the first layer".into());
                }
            }
            name => {
                let name = name.unwrap_or(member.name());
                if finding::asks_for(name) && member.size() <= MAX_FINDING_BYTES {
                    let bytes = member.content(&mut budget)?;
                    contents
                        .facts
                        .extend(npy::fact(name, bytes, MAX_FINDING_BYTES).map(|f| (name.to_owned(), f)));
                }
                contents.ignored.push(shown(name));
            }
        }
    }
    Ok(contents)
}
