//! Pictures in a weight file: `cargo run --release --example separate -- NET.safetensors 3x32x32 OUT_DIR [LAYER]`.
//!
//! Takes the first matrix whose rows have as many values as a picture, or the layer named, and writes `pictures.npy` (k, values of a
//! picture), each of unit length and of either sign, surest first.
#![expect(clippy::print_stdout, reason = "an example speaks")]

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use ndarray::{Array1, Array2, s};
use ndarray_npy::write_npy;
use palimpsest_numerics::factor::svd;
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::seed::Seed;
use palimpsest_unmix::agreement::{AgreementParams, separate_by_agreement};
use safetensors::{Dtype, SafeTensors};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, shape, out, ..] = arguments.as_slice() else {
        return Err("usage: separate NET.safetensors 3x32x32 OUT_DIR [LAYER]".into());
    };
    let shape: Vec<usize> = shape.split('x').map(str::parse).collect::<Result<_, _>>()?;
    let shape: [usize; 3] = shape.try_into().map_err(|_| "a shape is CHANNELSxHEIGHTxWIDTH")?;
    let bytes = std::fs::read(file)?;
    let weights = first_layer(&SafeTensors::deserialize(&bytes)?, shape, arguments.get(3))?;
    let started = Instant::now();
    let parallelism = Parallelism::of_threads(std::thread::available_parallelism()?.get());
    // The right singular vectors, from the products of the shorter side.
    let svd = svd(weights.view(), parallelism)?;
    let (basis, values): (Array2<f32>, Array1<f64>) = (svd.vt, svd.singular_values.mapv(f64::from));
    let most = basis.nrows().min(MOST_DIRECTIONS);
    println!("{} directions after {:.1} s", values.len(), started.elapsed().as_secs_f64());
    let (basis, values) = (basis.slice(s![..most, ..]), values.slice(s![..most]));
    let params: AgreementParams = AgreementParams::default();
    let started = Instant::now();
    let found =
        separate_by_agreement(basis, values, shape, &params, Seed::new(0), parallelism, &mut |progress| {
            println!("{:?} after {:.1} s", progress, started.elapsed().as_secs_f64());
            ControlFlow::Continue(())
        })?;
    println!("{} pictures after {:.2} s", found.pictures.nrows(), started.elapsed().as_secs_f64());
    let out = Path::new(out);
    std::fs::create_dir_all(out)?;
    let pixels = |coordinates: &Array2<f32>| {
        let basis = basis.slice(s![..coordinates.ncols(), ..]);
        matmul(coordinates.view(), basis, parallelism)
    };
    write_npy(out.join("pictures.npy"), &pixels(&found.pictures))?;
    let of = |evidence: &palimpsest_unmix::agreement::Evidence| {
        let e = evidence;
        let ranks = [e.rank_first as f64, e.rank_last as f64];
        let [first, last] = ranks;
        [
            e.support as f64,
            e.effective_support,
            e.support_share,
            e.persistence,
            e.contrast,
            e.tightness,
            first,
            last,
            e.leading_share,
        ]
    };
    let evidence: Vec<[f64; 9]> = found.evidence.iter().map(of).collect();
    write_npy(out.join("evidence.npy"), &ndarray::arr2(&evidence))?;
    if arguments.iter().any(|a| a == "--all") {
        write_npy(out.join("sources.npy"), &pixels(&found.sources))?;
        let settings: Vec<[u32; 2]> = found.settings.iter().map(|s| [s.0 as u32, s.1 as u32]).collect();
        write_npy(out.join("settings.npy"), &ndarray::arr2(&settings))?;
    }
    Ok(())
}

/// Directions handed to the separation, at most.
const MOST_DIRECTIONS: usize = 700;

fn first_layer(
    file: &SafeTensors<'_>,
    shape: [usize; 3],
    layer: Option<&String>,
) -> Result<Array2<f32>, Box<dyn Error>> {
    let values: usize = shape.iter().product();
    let mut names = file.names();
    names.sort();
    let fits = |name: &&str| layer.is_none_or(|layer| layer == name || layer.starts_with("--"));
    for name in names.into_iter().filter(fits) {
        let tensor = file.tensor(name)?;
        if tensor.shape().len() == 2 && tensor.shape()[1] == values && tensor.dtype() == Dtype::F32 {
            let numbers = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            return Ok(Array2::from_shape_vec((tensor.shape()[0], values), numbers.collect())?);
        }
    }
    Err(format!("no matrix of {values} columns in single precision").into())
}
