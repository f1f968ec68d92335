//! Reading a file of weights, whatever its format; what it holds, in words, and what it does not say.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use palimpsest_mlp::import::{
    Imported, Matrix, MatrixChoice, ReadOptions, StoredActivation, load_matrix, load_network_with,
    read_matrix, to_safetensors,
};
use palimpsest_mlp::{Checkpoint, Mlp, MlpError, Provenance};
use palimpsest_report::{ModelFile, Setting};

use crate::terminal::Misuse;

/// A network and what its file says besides.
pub struct Model {
    /// The network.
    pub network: Mlp<f32>,
    /// Where it comes from; a foreign format does not say.
    pub provenance: Option<Provenance>,
    /// What had to be assumed and what was left unread.
    pub notes: Vec<String>,
}

/// Reads a network; the format is read off the bytes. Of several chains of layers `chain` names the one that is meant.
///
/// # Errors
/// When the file cannot be read, holds no such chain, or says that another activation than ReLU stands between its layers.
pub fn load_model(path: &Path, chain: Option<&str>) -> Result<Model> {
    let named = |error: MlpError| match error {
        MlpError::File { .. } => anyhow::Error::new(error),
        error => anyhow::Error::new(error).context(format!("{} cannot be used", path.display())),
    };
    if is_checkpoint(path)? {
        if let Some(chain) = chain {
            bail!(Misuse(format!("--chain {chain}: a .palimpsest file holds one network; leave it out")));
        }
        let checkpoint = Checkpoint::load(path).map_err(named)?;
        let Checkpoint { network, provenance } = checkpoint;
        return Ok(Model { network, provenance: Some(provenance), notes: Vec::new() });
    }
    let imported = load_network_with(path, &options(chain)).map_err(named)?;
    if let Some(activation) = &imported.hidden_activation {
        ensure!(
            *activation == StoredActivation::Relu,
            "{} cannot be used: it says that {activation} stands between its layers, and this attack is for ReLU; peek looks into its \
             first layer all the same",
            path.display()
        );
    }
    let notes = notes(path, &imported);
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

/// Reads the weights of one dense layer that takes `inputs` values, whatever the rest of the network is; `correct` names the options that
/// a caller may have wrong.
///
/// # Errors
/// [`Misuse`] when no layer fits; else when the file cannot be read.
pub fn load_layer(path: &Path, choice: MatrixChoice<'_>, inputs: usize, correct: &str) -> Result<Matrix> {
    let named = |error: MlpError| match error {
        MlpError::File { .. } => anyhow::Error::new(error),
        MlpError::NoSuchMatrix(_) => anyhow!(Misuse(format!("{error}; correct {correct}"))),
        error => anyhow::Error::new(error).context(format!("{} cannot be used", path.display())),
    };
    if is_checkpoint(path)? {
        // The names that `layers.N.weight` of an exported file would have.
        let network = Checkpoint::load(path).map_err(named)?.network;
        return read_matrix(&to_safetensors(&network), choice, inputs).map_err(named);
    }
    load_matrix(path, choice, inputs).map_err(named)
}

fn notes(path: &Path, imported: &Imported) -> Vec<String> {
    let assumed = imported.assumed.join("; ");
    let relu = if imported.hidden_activation.is_some() { "" } else { "; here it is ReLU" };
    let mut notes = vec![format!("{} is read as {}: {assumed}{relu}", path.display(), imported.format)];
    if !imported.ignored.is_empty() {
        notes.push(format!("it also holds, unread: {}", imported.ignored.join(", ")));
    }
    notes
}

fn options(chain: Option<&str>) -> ReadOptions {
    chain.map_or_else(ReadOptions::default, ReadOptions::of_chain)
}

/// Whether the file is one of ours, by how it begins or by its name.
///
/// # Errors
/// When it cannot be read.
pub fn is_checkpoint(path: &Path) -> Result<bool> {
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
    Ok(start == CHECKPOINT_MAGIC || path.extension().is_some_and(|e| e == "palimpsest"))
}

/// How a file of ours begins, whatever its name.
const CHECKPOINT_MAGIC: &[u8] = b"PLMPSEST";

/// Names of tensors that are listed.
const LISTED: usize = 8;

/// Describes the file at `path`, from which `network`, the chain of that name, and perhaps its `provenance` were read.
pub fn describe(
    path: &Path,
    chain: Option<&str>,
    network: &Mlp<f32>,
    provenance: Option<&Provenance>,
) -> Result<ModelFile> {
    let dims: Vec<String> = network.dims().iter().map(usize::to_string).collect();
    let mut found = vec![
        Setting::new("file", path.display()),
        Setting::new("layers", format!("{} dense, {}", network.depth(), dims.join(" to "))),
    ];
    if provenance.is_some() {
        found.insert(1, Setting::new("format", ".palimpsest, checksummed"));
        return Ok(ModelFile { found, assumed: Vec::new() });
    }
    let imported = load_network_with(path, &options(chain))?;
    found.insert(1, Setting::new("format", format!("{}, stored as {:?}", imported.format, imported.dtype)));
    if imported.chains.len() > 1 {
        let others = imported.chains.iter().map(|chain| chain.name.clone()).collect::<Vec<_>>();
        found.push(Setting::new("chain", format!("{} of {}", imported.chain, list(&others))));
    }
    found.push(Setting::new("tensors used", list(&imported.used)));
    if !imported.ignored.is_empty() {
        found.push(Setting::new("also there, unread", list(&imported.ignored)));
    }
    let mut assumed: Vec<String> =
        imported.assumed.into_iter().filter(|sentence| !sentence.contains("activation")).collect();
    match &imported.hidden_activation {
        Some(activation) => {
            found.push(Setting::new("activation between layers", format!("{activation}, as the file says")));
        }
        None => assumed.push("between layers stands ReLU: the file does not say".into()),
    }
    found.extend(
        imported
            .findings
            .iter()
            .map(|said| Setting::new(&said.name, format!("{} ({})", said.value, said.meaning))),
    );
    assumed.push("the network was trained as a classifier (--regression if it tells a number), on inputs with their mean removed, if the weights say nothing else".into());
    if let Some(loss) = imported.findings.iter().find(|said| SQUARED.contains(&&*said.value)) {
        assumed.push(format!(
            "the file names the loss {}, as of a regression: if the network tells a number, add --regression",
            loss.value
        ));
    }
    Ok(ModelFile { found, assumed })
}

/// What programs call the squared error.
const SQUARED: [&str; 5] = ["squared_error", "mse", "mean_squared_error", "MSE", "MSELoss"];

fn list(names: &[String]) -> String {
    let shown = names.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > LISTED { format!("{shown} and {} more", names.len() - LISTED) } else { shown }
}
