//! Our checkpoint file: weights and where they come from, checksummed and written whole or not at all.
//!
//! Layout: 8 bytes magic `PLMPSEST`, `u32` version, `u64` payload length, 32 bytes BLAKE3 of the payload, then the
//! payload (postcard), all integers little-endian. No byte follows the payload.

use std::fs;
use std::io::Write;
use std::path::Path;

use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::import::read_limited;
use crate::train::Schedule;
use crate::{Dense, Mlp, MlpError};

const MAGIC: &[u8; 8] = b"PLMPSEST";
const VERSION: u32 = 1;
const HEADER: usize = 8 + 4 + 8 + 32;

/// Where a network comes from, as far as is known. An attack never reads it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// What wrote the network: program and version, or the imported file's name.
    pub made_by: String,
    /// Name of the data set.
    pub data: Option<String>,
    /// Task, as the command line spells it.
    pub task: Option<String>,
    /// Number of training examples.
    pub examples: Option<usize>,
    /// Seed of the initialisation.
    pub seed: Option<u64>,
    /// How it was trained.
    pub schedule: Option<Schedule>,
    /// Steps taken.
    pub epochs: Option<usize>,
    /// Log of the mean logistic loss at the end.
    pub log_loss: Option<f64>,
    /// Channels, height and width of an input, if it is an image.
    pub image_shape: Option<[usize; 3]>,
}

/// A network with its provenance.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The network, in the precision attacks use.
    pub network: Mlp<f32>,
    /// Where it comes from.
    pub provenance: Provenance,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    layers: Vec<StoredDense>,
    provenance: Provenance,
}

#[derive(Serialize, Deserialize)]
struct StoredDense {
    outputs: usize,
    inputs: usize,
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
}

impl Checkpoint {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let layers = self
            .network
            .layers()
            .iter()
            .map(|l| StoredDense {
                outputs: l.weight.nrows(),
                inputs: l.weight.ncols(),
                weight: l.weight.iter().copied().collect(),
                bias: l.bias.as_ref().map(|b| b.to_vec()),
            })
            .collect();
        let payload = postcard::to_stdvec(&Payload { layers, provenance: self.provenance.clone() })
            .expect("plain numbers and strings always serialise");
        let mut bytes = Vec::with_capacity(HEADER + payload.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        bytes.extend_from_slice(blake3::hash(&payload).as_bytes());
        bytes.extend_from_slice(&payload);
        bytes
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`MlpError::BadCheckpoint`] for anything truncated, altered or foreign; the errors of [`Mlp::new`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MlpError> {
        let bad = |what: String| MlpError::BadCheckpoint(what);
        if bytes.len() < HEADER || &bytes[..8] != MAGIC {
            return Err(bad(
                "it does not begin like a .palimpsest file; write one with `cargo xtask train`".into()
            ));
        }
        let version = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
        if version != VERSION {
            return Err(bad(format!("it has version {version}, this program reads version {VERSION}")));
        }
        let length = u64::from_le_bytes(bytes[12..20].try_into().expect("eight bytes"));
        let payload = &bytes[HEADER..];
        if length != payload.len() as u64 {
            return Err(bad(format!(
                "it announces {length} bytes of payload and has {}; copy it again",
                payload.len()
            )));
        }
        if blake3::hash(payload).as_bytes() != &bytes[20..HEADER] {
            return Err(bad("its checksum does not match: the file was altered; copy it again".into()));
        }
        let payload: Payload =
            postcard::from_bytes(payload).map_err(|e| bad(format!("its payload is malformed ({e})")))?;
        let layers = payload.layers.into_iter().enumerate().map(|(index, layer)| {
            let shape = (layer.outputs, layer.inputs);
            let weight = Array2::from_shape_vec(shape, layer.weight)
                .map_err(|_| bad(format!("layer {index} does not hold {} x {} weights", shape.0, shape.1)))?;
            Ok(Dense { weight, bias: layer.bias.map(Array1::from) })
        });
        let network = Mlp::new(layers.collect::<Result<_, MlpError>>()?)?;
        Ok(Self { network, provenance: payload.provenance })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`MlpError::File`] when it cannot be read or is above 1 GiB, and those of [`Checkpoint::from_bytes`].
    pub fn load(path: &Path) -> Result<Self, MlpError> {
        Self::from_bytes(&read_limited(path)?)
    }

    /// Writes a file with [`write_atomically`].
    ///
    /// # Errors
    /// [`MlpError::File`].
    pub fn save(&self, path: &Path) -> Result<(), MlpError> {
        write_atomically(path, &self.to_bytes())
    }
}

/// Writes `bytes` to a temporary file beside `path`, syncs it, and renames it: `path` is the old file or the whole
/// new one at every moment, also of a power cut.
///
/// # Errors
/// [`MlpError::File`].
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), MlpError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".palimpsest-").suffix(".tmp").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // Temporary files are private; a result is as readable as any other new file.
            file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        }
        file.persist(path).map_err(|e| e.error)?;
        // The name, too, has to survive a power cut. Not every file system can be asked for that.
        #[cfg(unix)]
        let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    };
    write().map_err(|source| MlpError::File { action: "write", path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use palimpsest_numerics::seed::Seed;
    use proptest::prelude::*;

    use super::*;
    use crate::BiasPlacement;

    fn sample() -> Checkpoint {
        Checkpoint {
            network: Mlp::initialise(&[3, 4, 1], BiasPlacement::FirstLayer, 0.5, Seed::new(1)),
            provenance: Provenance { made_by: "test".into(), examples: Some(7), ..Provenance::default() },
        }
    }

    #[test]
    fn comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.palimpsest");
        sample().save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path).unwrap(), sample());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn every_truncation_and_every_flip_is_refused() {
        let bytes = sample().to_bytes();
        for end in 0..bytes.len() {
            assert!(Checkpoint::from_bytes(&bytes[..end]).is_err(), "truncated to {end}");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x41;
            assert!(Checkpoint::from_bytes(&flipped).is_err(), "flipped byte {at}");
        }
        let long = [bytes.as_slice(), b"x"].concat();
        assert!(Checkpoint::from_bytes(&long).is_err());
    }

    #[test]
    fn nan_weights_and_lying_shapes_are_refused() {
        let mut nan = sample();
        nan.network.layers_mut()[0].weight[[0, 0]] = f32::NAN;
        assert!(matches!(Checkpoint::from_bytes(&nan.to_bytes()), Err(MlpError::NotFinite { layer: 0 })));
        let payload = Payload {
            layers: vec![StoredDense { outputs: usize::MAX, inputs: 3, weight: vec![1.0], bias: None }],
            provenance: Provenance::default(),
        };
        let bytes = sealed(&postcard::to_stdvec(&payload).unwrap());
        assert!(matches!(Checkpoint::from_bytes(&bytes), Err(MlpError::BadCheckpoint(_))));
    }

    #[test]
    fn a_file_above_the_limit_is_not_held_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.palimpsest");
        fs::File::create(&path).unwrap().set_len((1 << 30) + 1).unwrap();
        assert!(Checkpoint::load(&path).unwrap_err().to_string().contains("1 GiB"));
        assert!(Checkpoint::load(folder.path()).unwrap_err().to_string().contains("not a regular file"));
    }

    /// The bytes with `payload` under a right header.
    fn sealed(payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u64).to_le_bytes();
        let sum = blake3::hash(payload);
        [MAGIC.as_slice(), &VERSION.to_le_bytes(), &length, sum.as_bytes(), payload].concat()
    }

    proptest! {
        #[test]
        fn mutations_behind_the_checksum_do_not_panic(
            edits in prop::collection::vec((any::<usize>(), any::<u8>()), 1..5),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut payload = sample().to_bytes()[HEADER..].to_vec();
            let length = payload.len();
            edits.iter().for_each(|&(at, value)| payload[at % length] = value);
            let _ = Checkpoint::from_bytes(&sealed(&payload));
            let _ = Checkpoint::from_bytes(&sealed(&payload[..cut.index(length)]));
        }
    }

    #[test]
    fn an_unwritable_folder_is_named() {
        let error = sample().save(Path::new("/nonexistent/folder/model.palimpsest")).unwrap_err();
        assert!(error.to_string().contains("cannot write /nonexistent/folder/model.palimpsest"), "{error}");
    }
}
