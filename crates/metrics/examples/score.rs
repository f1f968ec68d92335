//! Noise, and one image found again, judged against three images.
//!
//! `cargo run -p palimpsest-metrics --example score`
#![expect(clippy::print_stdout, reason = "an example speaks to the person who runs it")]

use std::error::Error;

use ndarray::s;
use palimpsest_metrics::matching::Pairing;
use palimpsest_metrics::null_model::random_noise;
use palimpsest_metrics::score::{Protocol, score_against};
use palimpsest_metrics::{CandidateImages, ImageShape, TargetImages};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;

fn main() -> Result<(), Box<dyn Error>> {
    let shape = ImageShape { channels: 1, height: 8, width: 8 };
    let truth = random_noise(3, 64, 0.2, &Seed::new(1)).mapv(|v| (v + 0.5).clamp(0.0, 1.0));
    let centred = &truth - 0.5;
    let (found, shown) = (centred.slice(s![1..2, ..]), truth.slice(s![1..2, ..]));
    let candidates = CandidateImages::new(found, shown, shape)?;
    let targets = TargetImages::new(centred.view(), truth.view(), shape)?;
    let protocol = Protocol::published(shape);
    let scores = score_against(candidates, targets, &protocol, Pairing::Nearest, Parallelism::Sequential)?;
    println!("NCC of each image with its nearest candidate: {:.3?}", scores.matching.ncc);
    Ok(())
}
