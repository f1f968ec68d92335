//! How a network is made of what a reader hands over.

use ndarray::{Array1, Array2};

use super::chain::{self, Chain, Layer};
use super::contents::Contents;
use super::finding::{self, Fact};
use super::format::Format;
use super::imported::Imported;
use super::naming::{MAX_LISTED, shown};
use super::options::ReadOptions;
use super::sequence;
use super::tensor::{Dtype, Tensor};
use crate::{Dense, Mlp, MlpError};

/// Most numbers of a network: 1 GiB in `f64`.
pub(super) const MAX_NUMBERS: usize = 1 << 27;
/// Longest tensor apart from the layers that is looked into for findings, in numbers.
const MAX_FACT_NUMBERS: usize = 1 << 14;
/// Most tensors that are looked into: many may share the same numbers, so the file's length is no bound.
const MAX_LOOKED_INTO: usize = 200;

/// Reads bytes as a certain kind.
pub(super) fn read_as(format: Format, bytes: &[u8], options: &ReadOptions) -> Result<Imported, MlpError> {
    let contents = (format.read)(bytes, options).map_err(|problem| unreadable(format, problem))?;
    assemble(format, contents, options)
}

/// The error for bytes of no kind that is known.
pub(super) fn unknown() -> MlpError {
    let known: Vec<_> = Format::all().iter().map(|format| format.name()).collect();
    MlpError::NotANetwork(format!(
        "the file does not begin like any kind that is read ({}); save the weights in one of these",
        known.join(", ")
    ))
}

/// Decodes and assembles what a reader found.
fn assemble(format: Format, contents: Contents<'_>, options: &ReadOptions) -> Result<Imported, MlpError> {
    let Contents { tensors, steps, mut ignored, mut assumed, facts } = contents;
    if tensors.is_empty() {
        let others =
            ignored.iter().take(MAX_LISTED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let problem = format!(
            "it has no tensor called like a layer's weight, only [{others}]; {}",
            chain::NAMES_THAT_ARE_READ
        );
        return Err(unreadable(format, problem));
    }
    let choice = options.chain.as_deref();
    let told = match &steps {
        Some(steps) => sequence::arrange(steps, &tensors, choice)?,
        None => {
            let named: Vec<_> = tensors
                .iter()
                .map(|t| chain::Named { name: &t.name, shape: &t.shape, counts: t.holds_whole_numbers() })
                .collect();
            sequence::Told::of(chain::arrange(&named, choice)?)
        }
    };
    let Chain { layers, notes, apart, name, chains } = told.chain;
    check_size(format, &tensors, &layers)?;
    for &index in &apart {
        ignored.push(shown(&tensors[index].name));
    }
    let telling = apart.iter().map(|&index| &tensors[index]).filter(|tensor| finding::asks_for(&tensor.name));
    let telling = telling.take(MAX_LOOKED_INTO).filter_map(|tensor| {
        Some((tensor.name.to_string(), Fact::Numbers(tensor.numbers(MAX_FACT_NUMBERS)?)))
    });
    // First by the shorter name, that of the tensor itself.
    let facts: Vec<(String, Fact)> = telling.chain(facts).collect();
    let mut used = Vec::new();
    let mut dtype = Dtype::Float64;
    let network = network(&layers, |index| {
        let tensor = &tensors[index];
        let (stored_as, values) = tensor.values().map_err(|problem| unreadable(format, problem))?;
        used.push(shown(&tensor.name));
        dtype = dtype.min(stored_as);
        Ok((tensor.name.to_string(), tensor.shape.clone(), values))
    })?;
    if ignored.len() > MAX_LISTED {
        ignored.truncate(MAX_LISTED);
        ignored.push("and more".into());
    }
    assumed.extend(notes);
    assumed.push(match &told.hidden_activation {
        Some(activation) => format!("the file says that the activation between layers is {activation}"),
        None => {
            "between layers there is the activation that the user names; this file does not say".to_owned()
        }
    });
    let mut findings = finding::findings(&facts);
    findings.extend(told.output_activation.as_ref().map(|output| finding::output(output)));
    Ok(Imported {
        network,
        format,
        used,
        ignored,
        dtype,
        assumed,
        findings,
        chain: name,
        chains,
        hidden_activation: told.hidden_activation,
        output_activation: told.output_activation,
    })
}

/// Refuses more numbers than a network may have, before any is decoded.
fn check_size(format: Format, tensors: &[Tensor<'_>], layers: &[Layer]) -> Result<(), MlpError> {
    let used = layers.iter().flat_map(|layer| [Some(layer.weight), layer.bias]).flatten();
    let numbers = used.map(|index| &tensors[index]).try_fold(0_usize, |total, tensor| {
        total.checked_add(tensor.shape.iter().try_fold(1_usize, |n, &size| n.checked_mul(size))?)
    });
    if numbers.is_none_or(|numbers| numbers > MAX_NUMBERS) {
        return Err(unreadable(format, format!("it has more than {MAX_NUMBERS} weights")));
    }
    Ok(())
}

/// Builds a network whose tensors (name, shape, row-major values) are handed out by index.
pub(super) fn network(
    layers: &[Layer],
    mut tensor: impl FnMut(usize) -> Result<(String, Vec<usize>, Vec<f64>), MlpError>,
) -> Result<Mlp<f64>, MlpError> {
    let layers = layers.iter().map(|layer| {
        let (name, shape, values) = tensor(layer.weight)?;
        let [rows, columns] = shape[..] else { unreachable!("weights have two axes") };
        let stored = Array2::from_shape_vec((rows, columns), values).map_err(|_| {
            MlpError::NotANetwork(format!("`{}` does not hold {rows} x {columns} values", shown(&name)))
        })?;
        let weight = match layer.layout {
            chain::Layout::OutIn => stored,
            chain::Layout::InOut => stored.reversed_axes().as_standard_layout().into_owned(),
        };
        let bias = layer.bias.map(|index| Ok::<_, MlpError>(Array1::from(tensor(index)?.2))).transpose()?;
        Ok(Dense { weight, bias })
    });
    Mlp::new(layers.collect::<Result<_, MlpError>>()?)
}

/// The error for bytes that cannot be read as what they claim to be.
pub(super) fn unreadable(format: Format, problem: String) -> MlpError {
    MlpError::BadWeights { format: format.name(), problem }
}
