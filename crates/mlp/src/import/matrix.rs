//! One matrix of a file of weights, whatever the rest of the network is.

use std::path::Path;

use ndarray::Array2;

use super::assemble::{MAX_NUMBERS, read_as, unknown, unreadable};
use super::file::read_limited;
use super::format::Format;
use super::naming::shown;
use super::options::ReadOptions;
use super::tensor::{Dtype, Tensor};
use crate::MlpError;

/// Most matrices that an error lists.
const MAX_NAMED: usize = 24;

/// Which matrix of a file is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatrixChoice<'n> {
    /// The tensor of that name.
    Named(&'n str),
    /// The first that fits, in the order of the file.
    First,
    /// The first layer of the chain of that name, see [`ReadOptions::chain`].
    OfChain(&'n str),
}

/// A dense layer's weights as stored, with each neuron a row.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Matrix {
    /// Name of the tensor.
    pub name: String,
    /// Kind of the file.
    pub format: Format,
    /// Precision in which it is stored.
    pub dtype: Dtype,
    /// Whether it fitted as (in, out) only, so that it was turned. Chains are turned as they are read.
    pub turned: bool,
    /// The weights, (out, in); every stored precision widens to `f64` exactly.
    pub weight: Array2<f64>,
}

/// Reads the weights of one dense layer that takes `inputs` values, of a file of any kind and any network.
///
/// A matrix of `inputs` columns fits, and where there is none, one of `inputs` rows, which is turned.
///
/// # Errors
/// [`MlpError::File`] when it cannot be read or is above 1 GiB, and those of [`read_matrix`].
pub fn load_matrix(path: &Path, choice: MatrixChoice<'_>, inputs: usize) -> Result<Matrix, MlpError> {
    read_matrix(&read_limited(path)?, choice, inputs)
}

/// [`load_matrix`] of the bytes of a file.
///
/// # Errors
/// [`MlpError::NotANetwork`] when the bytes are of no kind that is known; [`MlpError::BadWeights`] when they are damaged;
/// [`MlpError::NoSuchMatrix`] when no matrix fits, or the one of that name does not; it lists those there are;
/// [`MlpError::NotFiniteTensor`]; those of [`read_network_with`](super::read_network_with) for a chain.
///
/// ```
/// use palimpsest_mlp::import::{MatrixChoice, read_matrix};
/// let bytes = include_bytes!("../../fixtures/wrapped_float64.pth");
/// let matrix = read_matrix(bytes, MatrixChoice::First, 12)?;
/// assert_eq!((matrix.name.as_str(), matrix.weight.dim()), ("layers.0.weight", (16, 12)));
/// let error = read_matrix(bytes, MatrixChoice::First, 13).unwrap_err().to_string();
/// assert!(error.contains("`layers.0.weight` 16x12"), "{error}");
/// # Ok::<(), palimpsest_mlp::MlpError>(())
/// ```
pub fn read_matrix(bytes: &[u8], choice: MatrixChoice<'_>, inputs: usize) -> Result<Matrix, MlpError> {
    if let MatrixChoice::OfChain(chain) = choice {
        return first_of_chain(bytes, chain, inputs);
    }
    let format = Format::of(bytes).ok_or_else(unknown)?;
    let contents = (format.read)(bytes, &ReadOptions::default()).map_err(|p| unreadable(format, p))?;
    let tensor = chosen(&contents.tensors, choice, inputs)
        .map_err(|problem| MlpError::NoSuchMatrix(format!("{problem}; {}", listed(&contents.tensors))))?;
    let [rows, columns] = tensor.shape[..] else { unreachable!("only matrices are chosen") };
    if rows.checked_mul(columns).is_none_or(|numbers| numbers > MAX_NUMBERS) {
        return Err(unreadable(
            format,
            format!("`{}` has more than {MAX_NUMBERS} numbers", shown(&tensor.name)),
        ));
    }
    let (dtype, values) = tensor.values().map_err(|problem| unreadable(format, problem))?;
    let name = shown(&tensor.name);
    if !values.iter().all(|value| value.is_finite()) {
        return Err(MlpError::NotFiniteTensor { name });
    }
    let stored = Array2::from_shape_vec((rows, columns), values).expect("as many values as the shape has");
    let turned = columns != inputs;
    let weight = if turned { stored.reversed_axes().as_standard_layout().into_owned() } else { stored };
    Ok(Matrix { name, format, dtype, turned, weight })
}

fn first_of_chain(bytes: &[u8], chain: &str, inputs: usize) -> Result<Matrix, MlpError> {
    let format = Format::of(bytes).ok_or_else(unknown)?;
    let imported = read_as(format, bytes, &ReadOptions::of_chain(chain))?;
    let name = imported.used.first().cloned().expect("a network has a layer, whose weight was read");
    let weight = imported.network.layers()[0].weight.clone();
    if weight.ncols() != inputs {
        let problem = format!(
            "the chain `{}` takes inputs of {} values, not of {inputs}",
            shown(&imported.chain),
            weight.ncols()
        );
        return Err(MlpError::NoSuchMatrix(problem));
    }
    Ok(Matrix { name, format: imported.format, dtype: imported.dtype, turned: false, weight })
}

fn chosen<'t, 'a>(
    tensors: &'t [Tensor<'a>],
    choice: MatrixChoice<'_>,
    inputs: usize,
) -> Result<&'t Tensor<'a>, String> {
    match choice {
        MatrixChoice::Named(name) => {
            let tensor = tensors.iter().find(|tensor| tensor.name == name);
            let tensor = tensor.ok_or_else(|| format!("it has no tensor `{}`", shown(name)))?;
            if is_matrix(tensor) && tensor.shape.contains(&inputs) {
                return Ok(tensor);
            }
            Err(format!("`{}` is {}, which takes no inputs of {inputs} values", shown(name), sides(tensor)))
        }
        MatrixChoice::First | MatrixChoice::OfChain(_) => {
            let matrices = || tensors.iter().filter(|tensor| is_matrix(tensor));
            let found = matrices()
                .find(|tensor| tensor.shape[1] == inputs)
                .or_else(|| matrices().find(|tensor| tensor.shape[0] == inputs));
            found.ok_or_else(|| format!("none of its matrices takes inputs of {inputs} values"))
        }
    }
}

/// Whether it is a matrix of floats that mixes more than one row.
fn is_matrix(tensor: &Tensor<'_>) -> bool {
    tensor.shape.len() == 2 && tensor.shape.iter().all(|&side| side > 1) && !tensor.holds_whole_numbers()
}

fn sides(tensor: &Tensor<'_>) -> String {
    match tensor.shape.as_slice() {
        [] => "a single number".into(),
        shape => shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x"),
    }
}

/// The matrices that there are, by name and shape.
fn listed(tensors: &[Tensor<'_>]) -> String {
    let named: Vec<String> = tensors
        .iter()
        .filter(|tensor| is_matrix(tensor))
        .map(|tensor| format!("`{}` {}", shown(&tensor.name), sides(tensor)))
        .collect();
    match named.len() {
        0 => "it has no matrices".into(),
        count if count > MAX_NAMED => {
            format!("its matrices are {} and {} more", named[..MAX_NAMED].join(", "), count - MAX_NAMED)
        }
        _ => format!("its matrices are {}", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_of_either_order_are_found() {
        let bytes = include_bytes!("../../fixtures/layers_bias_first_only.npz");
        let stored = super::super::read_network(bytes).unwrap();
        let [inputs, hidden, ..] = stored.network.dims()[..] else { unreachable!("it has layers") };
        let found = read_matrix(bytes, MatrixChoice::First, inputs).unwrap();
        assert_eq!((found.weight.view(), found.turned), (stored.network.layers()[0].weight.view(), false));
        let turned = read_matrix(bytes, MatrixChoice::Named(&found.name), hidden).unwrap();
        assert_eq!((turned.weight.view(), turned.turned), (found.weight.t(), true));
    }

    #[test]
    fn what_does_not_fit_is_answered_with_what_there_is() {
        let bytes = include_bytes!("../../fixtures/wrapped_float64.pth");
        for (choice, inputs, words) in [
            (MatrixChoice::First, 11, "none of its matrices takes inputs of 11 values"),
            (MatrixChoice::Named("layers.0.weight"), 11, "is 16x12, which takes no inputs of 11"),
            (MatrixChoice::Named("layers.0.bias"), 16, "is 16, which takes no"),
            (MatrixChoice::Named("nothing"), 12, "no tensor `nothing`"),
        ] {
            let error = read_matrix(bytes, choice, inputs).unwrap_err();
            let said = error.to_string();
            assert!(matches!(error, MlpError::NoSuchMatrix(_)) && said.contains(words), "{said}");
            assert!(said.contains("`layers.0.weight` 16x12"), "{said}");
        }
        assert!(matches!(
            read_matrix(b"nothing known", MatrixChoice::First, 3),
            Err(MlpError::NotANetwork(_))
        ));
    }

    #[test]
    fn cut_files_are_refused() {
        let bytes = include_bytes!("../../fixtures/layers_bias_first_only.safetensors");
        for end in 0..bytes.len() {
            assert!(read_matrix(&bytes[..end], MatrixChoice::First, 12).is_err(), "{end}");
        }
    }
}
