//! The score of every image: search by NCC, scale for display, compare by SSIM.

use ndarray::{Array2, ArrayView2, Axis, CowArray, Ix2};
pub use palimpsest_numerics::display::min_max;
use palimpsest_numerics::gemm::Parallelism;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::image::Images;
use crate::matching::{Matching, Pairing, match_by};
use crate::ncc::ncc_matrix;
use crate::resize::half_size;
use crate::ssim::{Padding, SsimParams, ssim_pairs};
use crate::{CandidateImages, ImageShape, Result, TargetImages};

/// On which images the search by NCC works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Search {
    /// On the images as they are.
    FullSize,
    /// On bicubic images of half the height and width.
    HalfSize,
}

/// Everything that changes a score. Candidates are always shown by [`min_max`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Protocol {
    /// The search.
    pub search: Search,
    /// The comparison; `None` for plain numbers, which have no picture.
    pub ssim: Option<SsimParams>,
}

impl Protocol {
    /// The protocol of the published counts: half size for colour, full size for grey images, SSIM of window 3, sigma
    /// 1.5 and range 1 with mirrored borders; for vectors, NCC alone.
    ///
    /// # Source
    /// Haim et al., NeurIPS 2022, section 5 and `get_evaluation_score_dssim` of their code.
    pub fn published(shape: ImageShape) -> Self {
        let ssim = SsimParams { window: 3, sigma: 1.5, data_range: 1.0, padding: Padding::Reflect };
        Self {
            search: if shape.channels == 1 { Search::FullSize } else { Search::HalfSize },
            ssim: (!shape.is_vector()).then_some(ssim),
        }
    }
}

/// Scores of pairs of a target and a candidate.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Scores {
    /// The pairs with their NCC.
    pub matching: Matching,
    /// SSIM of each pair; `None` when the protocol has none.
    pub ssim: Option<Vec<f64>>,
}

/// Pairs each target with a candidate by NCC of the centred images and scores each pair by SSIM of the shown ones.
///
/// # Errors
/// What [`half_size`] and [`ssim_pairs`] refuse: images too small for the protocol, parameters out of range.
///
/// # Panics
/// When candidates and targets differ in shape.
///
/// ```
/// use ndarray::array;
/// use palimpsest_metrics::{CandidateImages, ImageShape, TargetImages};
/// use palimpsest_metrics::{matching::Pairing, score::{Protocol, score_against}};
/// use palimpsest_numerics::gemm::Parallelism;
///
/// let shape = ImageShape { channels: 1, height: 2, width: 2 };
/// let (found, truth) = (array![[0.0, 9.0, 0.0, 0.0], [8.0, 0.0, 0.0, 8.0]], array![[1.0, 0.0, 0.0, 1.0]]);
/// let candidates = CandidateImages::new(found.view(), found.view(), shape)?;
/// let targets = TargetImages::new(truth.view(), truth.view(), shape)?;
/// let protocol = Protocol::published(shape);
/// let scores = score_against(candidates, targets, &protocol, Pairing::Nearest, Parallelism::Sequential)?;
/// assert_eq!(scores.matching.candidate, [1]);
/// assert!(scores.ssim.expect("images")[0] > 0.999);
/// # Ok::<(), palimpsest_metrics::MetricsError>(())
/// ```
#[track_caller]
pub fn score_against(
    candidates: CandidateImages<'_>,
    targets: TargetImages<'_>,
    protocol: &Protocol,
    pairing: Pairing,
    parallelism: Parallelism,
) -> Result<Scores> {
    let ncc = search_ncc(candidates, targets, protocol, parallelism)?;
    scores_by(ncc.view(), candidates, targets, protocol, pairing)
}

/// The scores of a pairing by an NCC (n targets, m candidates) that is there already.
pub(crate) fn scores_by(
    ncc: ArrayView2<'_, f32>,
    candidates: CandidateImages<'_>,
    targets: TargetImages<'_>,
    protocol: &Protocol,
    pairing: Pairing,
) -> Result<Scores> {
    let matching = match_by(ncc, pairing)?;
    let ssim = shown_ssim(candidates, targets, &matching, protocol)?;
    Ok(Scores { matching, ssim })
}

/// NCC (n targets, m candidates) at the size the protocol searches at.
///
/// # Errors
/// What [`score_against`] refuses.
///
/// # Panics
/// When candidates and targets differ in shape.
#[track_caller]
pub fn search_ncc(
    candidates: CandidateImages<'_>,
    targets: TargetImages<'_>,
    protocol: &Protocol,
    parallelism: Parallelism,
) -> Result<Array2<f32>> {
    let (candidates, targets) = (candidates.images(), targets.images());
    assert_eq!(candidates.shape, targets.shape, "candidates and targets differ in shape");
    let (searched_targets, shape) = searched(targets, protocol.search)?;
    let (searched_candidates, _) = searched(candidates, protocol.search)?;
    ncc_matrix(searched_targets.view(), searched_candidates.view(), shape, parallelism)
}

/// SSIM of the pairs of a matching, as shown.
pub(crate) fn shown_ssim(
    candidates: CandidateImages<'_>,
    targets: TargetImages<'_>,
    matching: &Matching,
    protocol: &Protocol,
) -> Result<Option<Vec<f64>>> {
    let Some(params) = &protocol.ssim else { return Ok(None) };
    let targets = targets.images();
    let shown = min_max(candidates.images().restored.select(Axis(0), &matching.candidate).view());
    let truth = targets.restored.select(Axis(0), &matching.target);
    ssim_pairs(shown.view(), truth.view(), targets.shape, params).map(Some)
}

fn searched(images: Images<'_>, search: Search) -> Result<(CowArray<'_, f32, Ix2>, ImageShape)> {
    match search {
        Search::FullSize => Ok((images.centered.into(), images.shape)),
        Search::HalfSize => {
            half_size(images.centered, images.shape).map(|(half, shape)| (half.into(), shape))
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::MetricsError;
    use crate::null_model::random_noise;
    use palimpsest_numerics::seed::Seed;

    /// The images of `fixtures/make.py`: bytes of a congruential generator, divided by 255.
    fn drawn(n: usize, d: usize, mut state: u32) -> Array2<f32> {
        Array2::from_shape_simple_fn((n, d), || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as f32 / 255.0
        })
    }

    #[test]
    fn agrees_with_the_pytorch_yardstick() {
        let fixture: Value = serde_json::from_str(include_str!("../fixtures/score.json")).unwrap();
        for case in fixture["cases"].as_array().unwrap() {
            let number = |name: &str| case[name].as_u64().unwrap() as usize;
            let shape =
                ImageShape { channels: number("channels"), height: number("side"), width: number("side") };
            let (n, m) = (number("targets"), number("candidates"));
            let (truth, noise) = (drawn(n, shape.size(), 1), drawn(m, shape.size(), 2));
            let mean = drawn(1, shape.size(), 3);
            let centered = &truth - &mean;
            // Candidate j leans on target j % n, less and less.
            let found = Array2::from_shape_fn((m, shape.size()), |(j, i)| {
                centered[[j % n, i]] * 0.5 + (noise[[j, i]] - 0.5) * ((j + 1) as f32 * 0.125)
            });
            let shown = &found + &mean;
            let candidates = CandidateImages::new(found.view(), shown.view(), shape).unwrap();
            let targets = TargetImages::new(centered.view(), truth.view(), shape).unwrap();
            let protocol = Protocol::published(shape);
            let parallelism = Parallelism::of_threads(2);
            let scores =
                score_against(candidates, targets, &protocol, Pairing::Nearest, parallelism).unwrap();
            let columns = [("ncc", scores.matching.ncc), ("ssim", scores.ssim.unwrap())];
            for (name, got) in columns {
                assert_eq!(got.len(), n);
                for (got, expected) in got.iter().zip(case[name].as_array().unwrap()) {
                    let expected = expected.as_f64().unwrap();
                    assert!((got - expected).abs() < 1e-5, "{shape} {name}: {got} and {expected}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn brightness_and_contrast_of_a_candidate_do_not_matter(
            gain in 0.01..100.0_f32, offset in -5.0..5.0_f32, channels in 1usize..4, seed: u64,
        ) {
            let shape = ImageShape { channels, height: 6, width: 4 };
            let truth = min_max(random_noise(3, shape.size(), 1.0, &Seed::new(seed).named("truth")).view());
            let noise = random_noise(3, shape.size(), 0.2, &Seed::new(seed).named("noise"));
            let score = |found: Array2<f32>| {
                let candidates = CandidateImages::new(found.view(), found.view(), shape).unwrap();
                let targets = TargetImages::new(truth.view(), truth.view(), shape).unwrap();
                let protocol = Protocol::published(shape);
                score_against(candidates, targets, &protocol, Pairing::OneToOne, Parallelism::Sequential).unwrap()
            };
            let (plain, faded) = (score(&truth + &noise), score((&truth + &noise) * gain + offset));
            prop_assert_eq!(&plain.matching.candidate, &faded.matching.candidate);
            for (a, b) in plain.ssim.unwrap().iter().zip(faded.ssim.unwrap()) {
                // A small gain on a large offset keeps few digits of the image.
                prop_assert!((a - b).abs() < 2e-3, "{a} {b}");
            }
        }
    }

    #[test]
    fn display_scaling_fills_the_range() {
        let shown = min_max(array![[-1.0, 0.0, 3.0], [7.0, 7.0, 7.0], [f32::MIN, 0.0, f32::MAX]].view());
        assert_eq!(shown, array![[0.0, 0.25, 1.0], [0.0, 0.0, 0.0], [0.0, 0.5, 1.0]]);
    }

    #[test]
    fn plain_numbers_have_no_ssim() {
        let (found, truth) = (array![[10.0, 20.0, -3.0]], array![[1.0, 2.0, -0.3], [0.0, 1.0, 0.0]]);
        let shape = ImageShape::vector(3);
        let candidates = CandidateImages::new(found.view(), found.view(), shape).unwrap();
        let targets = TargetImages::new(truth.view(), truth.view(), shape).unwrap();
        let protocol = Protocol::published(shape);
        let scores =
            score_against(candidates, targets, &protocol, Pairing::Nearest, Parallelism::Sequential).unwrap();
        assert_eq!(scores.ssim, None);
        assert!((scores.matching.ncc[0] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn one_to_one_skips_targets_when_candidates_run_out() {
        let (found, truth) =
            (array![[0.0, 1.0, 0.0, 0.0]], array![[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]);
        let shape = ImageShape { channels: 1, height: 2, width: 2 };
        let candidates = CandidateImages::new(found.view(), found.view(), shape).unwrap();
        let targets = TargetImages::new(truth.view(), truth.view(), shape).unwrap();
        let protocol = Protocol::published(shape);
        let scores =
            score_against(candidates, targets, &protocol, Pairing::OneToOne, Parallelism::Sequential)
                .unwrap();
        assert_eq!((scores.matching.target, scores.ssim.unwrap().len()), (vec![1], 1));
    }

    #[test]
    fn colour_images_of_one_line_cannot_be_searched_at_half_size() {
        let images = array![[0.0, 1.0, 0.0, 0.5, 0.2, 0.1]];
        let shape = ImageShape { channels: 3, height: 1, width: 2 };
        let candidates = CandidateImages::new(images.view(), images.view(), shape).unwrap();
        let targets = TargetImages::new(images.view(), images.view(), shape).unwrap();
        let protocol = Protocol::published(shape);
        let error = score_against(candidates, targets, &protocol, Pairing::Nearest, Parallelism::Sequential);
        assert!(matches!(error, Err(MetricsError::TooSmall { side: 2, .. })));
    }
}
