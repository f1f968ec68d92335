//! The judge: how well candidates match images, and how much of that is chance.
//!
//! It is separate from every attack: it alone sees both sides, and no crate that searches depends on it. Images
//! are rows of `f32` matrices, flattened channel by channel, row by row; an [`ImageShape`] says what a row means.
//! Scores are computed in `f64`, except the correlation matrix, which is one `f32` product.
//!
//! | question | module |
//! |---|---|
//! | how alike are two images, brightness and contrast aside? | [`ncc`] |
//! | how alike do they look? | [`ssim`] |
//! | how does the published protocol search at half size? | [`resize`] |
//! | which candidate belongs to which image? | [`matching`] |
//! | what would chance have scored? | [`null_model`] |
//! | what is the score of every image? | [`score`] |
//! | how many images is that, with which interval, beside the nulls? | [`table`] |
//! | how is a count, its threshold and its interval made? | [`tally`] |
//! | how near is a row of plain numbers to its nearest candidate? | [`distance`] |
//! | what can be read in the first n images of the list, what is sure, does the truth fit the weights? | [`judge`] |
//! | does the attack know which of its candidates are real? | [`calibration`] |
//! | what is as smooth as a photograph and is none? | [`mod@pink_noise`] |
//! | are two samples of one law? | [`mod@two_samples`] |
//!
//! **Two coordinates.** A network is trained on images minus their training mean, and the published protocol
//! *searches* in those centred coordinates but *shows* images with the mean restored. The two differ a lot: with
//! the mean in both sides every image resembles every other. So [`CandidateImages`] and [`TargetImages`] carry both
//! views, made by whoever owns the mean; this crate neither removes nor restores one. They are different types, so
//! that truth cannot be passed where candidates belong.
//!
//! ```
//! use ndarray::Array2;
//! use palimpsest_metrics::{CandidateImages, ImageShape, TargetImages};
//! use palimpsest_metrics::null_model::{NullModel, random_noise};
//! use palimpsest_metrics::score::Protocol;
//! use palimpsest_metrics::table::{RowKind, judge, score_table};
//! use palimpsest_numerics::{gemm::Parallelism, seed::Seed};
//!
//! let shape = ImageShape { channels: 1, height: 8, width: 8 };
//! let (seed, mean) = (Seed::new(1), 0.5_f32);
//! // Six training images, sixty held out; an attack that found the first three, a little faded.
//! let draw = |n, name| random_noise(n, shape.size(), 0.1, &seed.named(name)).mapv(|v| v.clamp(-0.5, 0.5));
//! let (training, held_out) = (draw(6, "training"), draw(60, "held out"));
//! let mut found = draw(12, "attack");
//! for i in 0..3 {
//!     found.row_mut(i).assign(&(&training.row(i) * 0.7));
//! }
//! let restore = |centered: &Array2<f32>| centered + mean;
//! let (found_shown, training_shown, held_out_shown) = (restore(&found), restore(&training), restore(&held_out));
//!
//! let candidates = CandidateImages::new(found.view(), found_shown.view(), shape)?;
//! let truth = TargetImages::new(training.view(), training_shown.view(), shape)?;
//! let unseen = TargetImages::new(held_out.view(), held_out_shown.view(), shape)?;
//! let protocol = Protocol::published(shape);
//! let rows = judge(candidates, truth, &[NullModel::HeldOut(unseen)], &protocol, Parallelism::Sequential)?;
//! let table = score_table(&rows, &protocol, &seed)?;
//! let training_row = table.row(RowKind::Training).expect("the first row");
//! assert_eq!(training_row.ncc.above_threshold, 3);
//! # Ok::<(), palimpsest_metrics::MetricsError>(())
//! ```

pub mod distance;
mod error;
mod image;
mod image_shape;
pub mod judge;
pub mod logistic;
pub mod matching;
pub mod ncc;
pub mod null_model;
pub mod pink_noise;
pub mod resize;
mod row_kind;
pub mod score;
pub mod ssim;
pub mod table;
pub mod tally;
pub mod two_samples;

pub use error::{MetricsError, Result};
pub use image::{CandidateImages, TargetImages};
pub use image_shape::ImageShape;
pub use judge::calibration;
