//! What a file of weights holds, in words, and what it does not say.

use std::path::Path;

use anyhow::Result;
use palimpsest_mlp::import::load_network;
use palimpsest_mlp::{Mlp, Provenance};
use palimpsest_report::{ModelFile, Setting};

/// Names of tensors that are listed.
const LISTED: usize = 8;

/// Describes the file at `path`, from which `network` and perhaps its `provenance` were read.
pub(crate) fn describe(
    path: &Path,
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
    let imported = load_network(path)?;
    found.insert(1, Setting::new("format", format!("{}, stored as {:?}", imported.format, imported.dtype)));
    found.push(Setting::new("tensors used", list(&imported.used)));
    if !imported.ignored.is_empty() {
        found.push(Setting::new("also there, unread", list(&imported.ignored)));
    }
    let mut assumed: Vec<String> =
        imported.assumed.into_iter().filter(|sentence| !sentence.contains("activation")).collect();
    assumed.push("between layers stands ReLU: a file of weights does not say".into());
    assumed.push("the network was trained as a binary classifier, on inputs with their mean removed".into());
    Ok(ModelFile { found, assumed })
}

fn list(names: &[String]) -> String {
    let shown = names.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > LISTED { format!("{shown} and {} more", names.len() - LISTED) } else { shown }
}
