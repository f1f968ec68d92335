//! The pool of all candidates in the folder of a run: as inputs, or as coordinates and the directions that they belong to.
//!
//! Inputs are what anyone can read. Coordinates take a fraction of the room where an input has many more values than the weights have
//! directions; their product with the directions is the inputs, to the bit on the machine that wrote them.

use std::fs;
use std::path::Path;

use ndarray::{Array2, ArrayView2};
use palimpsest_attack::InSpan;
use palimpsest_numerics::gemm::{Parallelism, matmul};

use crate::error::{Result, RunsError};
use crate::files::{read_npy, write_npy};
use crate::record::{CANDIDATES_FILE, POOL_BASIS_FILE, POOL_COORDINATES_FILE};

/// How the pool is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolForm {
    /// Inputs, (M, d).
    Inputs,
    /// Coordinates (M, r) and directions (r, d), where candidates have such; else inputs.
    Coordinates,
}

/// Most values of a pool that is written as inputs unless asked for: 64 MiB.
const MOST_VALUES: usize = 16 << 20;
/// Most values of a pool that is read, 4 GiB as of any file: small coordinates could announce any number of inputs.
const MAX_VALUES: usize = 1 << 30;

/// Writes the pool of `candidates` (M, d) in the form asked for, and removes what there is in the other. Where nothing is asked for: inputs,
/// or, where these would take more than 64 MiB, coordinates.
///
/// # Errors
/// [`RunsError::File`] and [`RunsError::Write`].
pub fn write_pool(
    folder: &Path,
    candidates: ArrayView2<'_, f32>,
    in_span: Option<&InSpan>,
    form: Option<PoolForm>,
) -> Result<()> {
    let form =
        form.unwrap_or(if candidates.len() > MOST_VALUES { PoolForm::Coordinates } else { PoolForm::Inputs });
    match in_span {
        Some(in_span) if form == PoolForm::Coordinates => {
            remove(&folder.join(CANDIDATES_FILE))?;
            write_npy(&folder.join(POOL_BASIS_FILE), &in_span.basis)?;
            write_npy(&folder.join(POOL_COORDINATES_FILE), &in_span.coordinates)
        }
        _ => {
            remove(&folder.join(POOL_COORDINATES_FILE))?;
            remove(&folder.join(POOL_BASIS_FILE))?;
            write_npy(&folder.join(CANDIDATES_FILE), &candidates)
        }
    }
}

/// Reads the pool that [`write_pool`] wrote, as inputs (M, d).
///
/// # Errors
/// [`RunsError::File`] for files that are not there or damaged, [`RunsError::Unusable`] for two that do not fit each other.
pub fn read_pool(folder: &Path, parallelism: Parallelism) -> Result<Array2<f32>> {
    let path = folder.join(POOL_COORDINATES_FILE);
    if !path.exists() {
        return read_npy(&folder.join(CANDIDATES_FILE));
    }
    let coordinates: Array2<f32> = read_npy(&path)?;
    let basis: Array2<f32> = read_npy(&folder.join(POOL_BASIS_FILE))?;
    if !fits(coordinates.view(), basis.view()) {
        return Err(RunsError::Unusable(format!(
            "{POOL_COORDINATES_FILE} and {POOL_BASIS_FILE} in {} do not fit each other; run reconstruct again",
            folder.display()
        )));
    }
    Ok(matmul(coordinates.view(), basis.view(), parallelism))
}

/// Whether the product is that of the same directions, and of a size that inputs can have.
fn fits(coordinates: ArrayView2<'_, f32>, basis: ArrayView2<'_, f32>) -> bool {
    let values = coordinates.nrows().checked_mul(basis.ncols());
    !basis.is_empty()
        && coordinates.ncols() == basis.nrows()
        && values.is_some_and(|values| values <= MAX_VALUES)
}

fn remove(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    fs::remove_file(path).map_err(|error| RunsError::file(format!("cannot remove {}", path.display()), error))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn in_span() -> (Array2<f32>, InSpan) {
        let coordinates = array![[1.0_f32, 0.25], [-0.5, 3.0], [0.1, 0.7]];
        let basis = array![[0.6_f32, 0.8, 0.0], [0.0, 0.0, 1.0]];
        let inputs = matmul(coordinates.view(), basis.view(), Parallelism::Sequential);
        (inputs, InSpan { coordinates, basis })
    }

    #[test]
    fn either_form_is_read_as_the_same_inputs_and_replaces_the_other() {
        let (folder, (inputs, in_span)) = (tempfile::tempdir().unwrap(), in_span());
        let names = || {
            let mut names: Vec<_> =
                fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        for (form, files) in [
            (None, vec![CANDIDATES_FILE]),
            (Some(PoolForm::Coordinates), vec![POOL_BASIS_FILE, POOL_COORDINATES_FILE]),
            (Some(PoolForm::Inputs), vec![CANDIDATES_FILE]),
        ] {
            write_pool(folder.path(), inputs.view(), Some(&in_span), form).unwrap();
            assert_eq!(names(), files);
            assert_eq!(read_pool(folder.path(), Parallelism::of_threads(2)).unwrap(), inputs);
        }
        write_pool(folder.path(), inputs.view(), None, Some(PoolForm::Coordinates)).unwrap();
        assert_eq!(names(), [CANDIDATES_FILE], "there are no coordinates");
    }

    #[test]
    fn what_does_not_fit_is_refused_before_memory_is_taken() {
        let (folder, (inputs, in_span)) = (tempfile::tempdir().unwrap(), in_span());
        write_pool(folder.path(), inputs.view(), Some(&in_span), Some(PoolForm::Coordinates)).unwrap();
        let read = || read_pool(folder.path(), Parallelism::Sequential).unwrap_err().to_string();
        for (rows, columns) in [(3, 3), (2, 0), (0, 3)] {
            write_npy(&folder.path().join(POOL_BASIS_FILE), &Array2::<f32>::zeros((rows, columns))).unwrap();
            assert!(read().contains("do not fit each other"), "{rows} {columns}");
        }
        let many = (1 << 16, 1 << 15);
        write_npy(&folder.path().join(POOL_COORDINATES_FILE), &Array2::<f32>::zeros((many.0, 1))).unwrap();
        write_npy(&folder.path().join(POOL_BASIS_FILE), &Array2::<f32>::zeros((1, many.1))).unwrap();
        assert!(read().contains("do not fit each other"));
        fs::remove_file(folder.path().join(POOL_BASIS_FILE)).unwrap();
        assert!(read().contains(POOL_BASIS_FILE));
    }
}
