//! Reading a file of weights, whatever its format; what it holds, in words, and what it does not say.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use palimpsest_mlp::import::load_network;
use palimpsest_mlp::{Checkpoint, Mlp, MlpError, Provenance};
use palimpsest_report::{ModelFile, Setting};

/// A network and what its file says besides.
pub struct Model {
    /// The network.
    pub network: Mlp<f32>,
    /// Where it comes from; a foreign format does not say.
    pub provenance: Option<Provenance>,
    /// What had to be assumed and what was left unread.
    pub notes: Vec<String>,
}

/// Reads a network; the format is told from the bytes.
pub fn load_model(path: &Path) -> Result<Model> {
    let named = |error: MlpError| match error {
        MlpError::File { .. } => anyhow::Error::new(error),
        error => anyhow::Error::new(error).context(format!("{} cannot be used", path.display())),
    };
    let mut start = Vec::new();
    fs::metadata(path)
        .and_then(|metadata| {
            // A pipe would wait for ever, a device never end.
            if !metadata.is_file() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
            }
            File::open(path)?.take(CHECKPOINT_MAGIC.len() as u64).read_to_end(&mut start)
        })
        .with_context(|| format!("cannot read {}, which should be a file of weights", path.display()))?;
    if start == CHECKPOINT_MAGIC || path.extension().is_some_and(|e| e == "palimpsest") {
        let checkpoint = Checkpoint::load(path).map_err(named)?;
        let Checkpoint { network, provenance } = checkpoint;
        return Ok(Model { network, provenance: Some(provenance), notes: Vec::new() });
    }
    let imported = load_network(path).map_err(named)?;
    let assumed = imported.assumed.join("; ");
    let mut notes =
        vec![format!("{} is read as {}: {assumed}; here it is ReLU", path.display(), imported.format)];
    if !imported.ignored.is_empty() {
        notes.push(format!("it also holds, unread: {}", imported.ignored.join(", ")));
    }
    let network: Mlp<f32> = imported.network.cast();
    let finite = network
        .layers()
        .iter()
        .all(|layer| layer.weight.iter().chain(layer.bias.iter().flatten()).all(|value| value.is_finite()));
    ensure!(
        finite,
        "{} cannot be used: it has weights above what f32 holds; scale them down",
        path.display()
    );
    Ok(Model { network, provenance: None, notes })
}

/// How a file of ours begins, whatever its name.
const CHECKPOINT_MAGIC: &[u8] = b"PLMPSEST";

/// Names of tensors that are listed.
const LISTED: usize = 8;

/// Describes the file at `path`, from which `network` and perhaps its `provenance` were read.
pub fn describe(path: &Path, network: &Mlp<f32>, provenance: Option<&Provenance>) -> Result<ModelFile> {
    let dims: Vec<String> = network.dims().iter().map(usize::to_string).collect();
    let mut found = vec![
        Setting::new("file", path.display()),
        Setting::new("layers", format!("{} dense, {}", network.depth(), dims.join(" to "))),
    ];
    if provenance.is_some() {
        found.insert(1, Setting::new("format", ".palimpsest, checksummed"));
        return Ok(ModelFile { found, assumed: Vec::new() });
    }
    let imported = load_network(path)?;
    found.insert(1, Setting::new("format", format!("{}, stored as {:?}", imported.format, imported.dtype)));
    found.push(Setting::new("tensors used", list(&imported.used)));
    if !imported.ignored.is_empty() {
        found.push(Setting::new("also there, unread", list(&imported.ignored)));
    }
    let mut assumed: Vec<String> =
        imported.assumed.into_iter().filter(|sentence| !sentence.contains("activation")).collect();
    assumed.push("between layers stands ReLU: a file of weights does not say".into());
    assumed.push("the network was trained as a binary classifier, on inputs with their mean removed, if the weights say nothing else".into());
    Ok(ModelFile { found, assumed })
}

fn list(names: &[String]) -> String {
    let shown = names.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > LISTED { format!("{shown} and {} more", names.len() - LISTED) } else { shown }
}
