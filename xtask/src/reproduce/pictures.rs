//! `cargo xtask reproduce calibrate-pictures`: how probable it is that a separated picture is an image, fitted to looks into layers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
use palimpsest::terminal::{Misuse, output};
use palimpsest_datasets::{FlatOrder, InputShape, read_records};
use palimpsest_metrics::ImageShape;
use palimpsest_metrics::logistic::fit_logistic;
use palimpsest_metrics::ncc::ncc_matrix;
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::reduce::unit_rows;
use palimpsest_runs::files;
use palimpsest_unmix::agreement::Evidence;
use serde::Deserialize;

/// The looks to fit to.
#[derive(Clone, Debug, Args)]
pub(super) struct PicturesArgs {
    /// What kind of picture a look is of, the folder that `peek` wrote, and the images that were mixed (none of a span that holds no image).
    #[arg(required = true, value_name = "KIND=DIR[=TRUTH]")]
    looks: Vec<Look>,
}

/// A look into a layer, as it is named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    kind: String,
    folder: PathBuf,
    truth: Option<PathBuf>,
}

impl FromStr for Look {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, '=');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(kind), Some(folder), truth) if !kind.is_empty() && !folder.is_empty() => {
                Ok(Self { kind: kind.into(), folder: folder.into(), truth: truth.map(PathBuf::from) })
            }
            _ => Err("a look is KIND=DIR or KIND=DIR=TRUTH, as in photographs=runs/peek=train.npz".into()),
        }
    }
}

/// What is read of the record that `peek` writes.
#[derive(Deserialize)]
struct Record {
    input_shape: [usize; 3],
    pictures: Vec<Picture>,
}

#[derive(Deserialize)]
struct Picture {
    #[serde(flatten)]
    evidence: Evidence,
}

/// Pictures of one look, and which of them are images.
struct Pictures {
    folder: PathBuf,
    evidence: Vec<Evidence>,
    real: Vec<bool>,
}

/// Probability from which on a picture is called sure.
const SURE: f64 = 0.95;
/// A picture is an image that was mixed if its |NCC| with it is above the first of these, or the cosine of their edges above the second.
const REAL: (f32, f32) = (0.85, 0.6);
/// What all pictures of a look weigh together, and each at most.
const WEIGHTS: (f64, f64) = (100.0, 3.0);

/// Fits the probability, each look counted alike; says what it calls sure on each kind when that is left out, and prints its coefficients.
pub(super) fn calibrate(args: &PicturesArgs) -> Result<()> {
    let mut kinds: BTreeMap<&str, Vec<Pictures>> = BTreeMap::new();
    for look in &args.looks {
        kinds.entry(&look.kind).or_default().push(read(look)?);
    }
    ensure!(kinds.len() > 1, Misuse("leaving one kind out takes two; name looks at others, too".into()));
    let (mut called, mut real) = (0, 0);
    for (kind, left_out) in &kinds {
        let others: Vec<&Pictures> =
            kinds.iter().filter(|(other, _)| *other != kind).flat_map(|(_, of)| of).collect();
        let coefficients = fit(&others)?;
        for pictures in left_out {
            let sure = pictures.sure(&coefficients);
            output::line(&format!(
                "{kind}, {}: {} pictures, {} of them images; {} called sure, {} images",
                pictures.folder.display(),
                pictures.real.len(),
                pictures.real.iter().filter(|real| **real).count(),
                sure.0,
                sure.1
            ));
            (called, real) = (called + sure.0, real + sure.1);
        }
    }
    output::line(&format!("each kind by a fit without it: {called} called sure, {real} images"));
    let all: Vec<&Pictures> = kinds.values().flatten().collect();
    let (kinds, looks) = (kinds.len(), all.len());
    output::line(&format!("{kinds} kinds, {looks} looks, coefficients {:.3}, the last added", fit(&all)?));
    Ok(())
}

fn read(look: &Look) -> Result<Pictures> {
    let record: Record = files::read_json(&look.folder.join("run.json")).with_context(|| {
        format!("{} is no folder that `peek` of this version wrote", look.folder.display())
    })?;
    let evidence: Vec<Evidence> = record.pictures.into_iter().map(|picture| picture.evidence).collect();
    let real = match &look.truth {
        None => vec![false; evidence.len()],
        Some(truth) => {
            let pictures: Array2<f32> = files::read_npy(&look.folder.join("reconstructions.npy"))?;
            which_are_real(pictures.view(), truth, record.input_shape)?
        }
    };
    ensure!(
        real.len() == evidence.len(),
        anyhow!("{}: the record and the pictures do not belong together", look.folder.display())
    );
    Ok(Pictures { folder: look.folder.clone(), evidence, real })
}

/// Which `pictures` (k, d) are images of `truth`, less their mean image, up to sign.
fn which_are_real(pictures: ArrayView2<'_, f32>, truth: &Path, shape: [usize; 3]) -> Result<Vec<bool>> {
    let [channels, height, width] = shape;
    let declared = InputShape::Image { channels, height, width };
    let mut images = read_records(truth, Some(declared), FlatOrder::ChannelsFirst)?.inputs;
    let mean = images.mean_axis(Axis(0)).context("there are no images")?;
    images -= &mean;
    let threads = Parallelism::of_threads(rayon::current_num_threads());
    let ncc = ncc_matrix(pictures, images.view(), ImageShape { channels, height, width }, threads)?;
    let edges = |images: ArrayView2<'_, f32>| unit_rows(differences(images, shape).view());
    let of_edges = matmul(edges(pictures).view(), edges(images.view()).t(), threads);
    let above = |row: ndarray::ArrayView1<'_, f32>, least: f32| row.iter().any(|value| value.abs() > least);
    let rows = ncc.rows().into_iter().zip(of_edges.rows());
    Ok(rows.map(|(ncc, edges)| above(ncc, REAL.0) || above(edges, REAL.1)).collect())
}

/// Differences of neighbours of each of `images` (n, d), along columns and rows.
fn differences(images: ArrayView2<'_, f32>, [channels, height, width]: [usize; 3]) -> Array2<f32> {
    let n = images.nrows();
    let planes = images.to_shape((n, channels, height, width)).expect("images have this shape");
    let down = &planes.slice(s![.., .., 1.., ..]) - &planes.slice(s![.., .., ..-1, ..]);
    let across = &planes.slice(s![.., .., .., 1..]) - &planes.slice(s![.., .., .., ..-1]);
    let flat = |differences: ndarray::Array4<f32>| {
        let each = differences.len() / n.max(1);
        differences.to_shape((n, each)).expect("as many of each").into_owned()
    };
    concatenate![Axis(1), flat(down), flat(across)]
}

/// Coefficients of the features of a picture's evidence and of 1.
fn fit(looks: &[&Pictures]) -> Result<Array1<f64>> {
    let (mut rows, mut real, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for look in looks {
        for (evidence, &is_real) in look.evidence.iter().zip(&look.real) {
            rows.extend(evidence.features());
            rows.push(1.0);
            real.push(is_real);
            weights.push((WEIGHTS.0 / look.real.len() as f64).min(WEIGHTS.1));
        }
    }
    let features = rows.len() / real.len().max(1);
    let rows = Array2::from_shape_vec((real.len(), features), rows)?;
    Ok(fit_logistic(rows.view(), &real, &weights)?)
}

impl Pictures {
    /// How many are called sure by these coefficients, and how many of these are images.
    fn sure(&self, coefficients: &Array1<f64>) -> (usize, usize) {
        let is_sure = |evidence: &Evidence| {
            let features = evidence.features().into_iter().chain([1.0]);
            let score: f64 = features.zip(coefficients).map(|(feature, c)| feature * c).sum();
            1.0 / (1.0 + (-score).exp()) >= SURE
        };
        let sure = self.evidence.iter().zip(&self.real).filter(|(evidence, _)| is_sure(evidence));
        sure.fold((0, 0), |(called, real), (_, &is_real)| (called + 1, real + usize::from(is_real)))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use palimpsest_numerics::seed::{Seed, random_noise};

    use super::*;

    #[test]
    fn a_look_is_a_kind_a_folder_and_perhaps_a_truth() {
        let look: Look = "photographs=runs/a=train.npz".parse().unwrap();
        assert_eq!((look.kind.as_str(), look.truth), ("photographs", Some("train.npz".into())));
        assert_eq!("mixtures=runs/b".parse::<Look>().unwrap().truth, None);
        assert!("runs/b".parse::<Look>().is_err() && "=runs/b".parse::<Look>().is_err());
    }

    #[test]
    fn differences_of_neighbours_go_both_ways() {
        let image = array![[1.0, 2.0, 4.0, 8.0]];
        assert_eq!(differences(image.view(), [1, 2, 2]), array![[3.0, 6.0, 1.0, 4.0]]);
    }

    #[test]
    fn a_picture_is_real_up_to_its_sign_and_a_blend_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let images = random_noise(12, 64, 0.2, &Seed::new(3));
        files::write_npy(&folder.path().join("truth.npy"), &images).unwrap();
        let centred = &images - &images.mean_axis(Axis(0)).unwrap();
        let blend = centred.slice(s![2..6, ..]).sum_axis(Axis(0)).insert_axis(Axis(0));
        let pictures = concatenate![Axis(0), -&centred.slice(s![1..2, ..]), blend];
        let real = which_are_real(pictures.view(), &folder.path().join("truth.npy"), [1, 8, 8]).unwrap();
        assert_eq!(real, [true, false]);
    }
}
