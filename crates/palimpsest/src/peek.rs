//! A look into one layer as a function: pictures that its weights hold, up to sign.

use std::ops::ControlFlow;
use std::path::Path;

use ndarray::Array2;
use palimpsest_unmix::agreement::{Diagnostics, Progress};

use crate::attacking::input_shape::InputShape;
use crate::attacking::look::{layer, look};
use crate::error::{Error, Result};

/// Which layer is looked into.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeekOptions {
    /// Channels, height and width of a picture that the layer sees, both sides at least 3.
    pub input_shape: [usize; 3],
    /// Name of the layer's weights; the first matrix that takes such pictures if not given.
    pub layer: Option<String>,
    /// Take the first layer of this chain of dense layers; not with `layer`.
    pub chain: Option<String>,
    /// Seed of the starts.
    pub seed: u64,
}

impl PeekOptions {
    /// The first layer that sees pictures of this shape.
    pub fn of(input_shape: [usize; 3]) -> Self {
        Self { input_shape, layer: None, chain: None, seed: 0 }
    }
}

/// What a look into a layer finds.
#[derive(Clone, Debug)]
pub struct Peek {
    /// Pictures as the layer sees them, of unit length and unknown sign, surest first, (k, d).
    pub pictures: Array2<f32>,
    /// Probability that each is one of the images that were mixed, (k), in (0, 1).
    pub confidence: Vec<f64>,
    /// What all images seem to have in common, (b, d).
    pub shared_backgrounds: Array2<f32>,
    /// Name of the layer.
    pub layer: String,
    /// Leading directions of its row space that were separated.
    pub directions: usize,
    /// How the separations went.
    pub diagnostics: Diagnostics,
    /// Whether `observe` ended it.
    pub stopped_early: bool,
}

/// Looks for pictures in one layer of the network in the file `path`, as `palimpsest peek` does: separation alone, to the same
/// bits. `observe` is told how many pictures are confirmed so far, and ends it early by `Break`. Works in the thread pool of its
/// caller; the result does not depend on the number of threads.
///
/// # Errors
/// [`Error::Model`] for a file without such a layer, and for a shape that is no picture's.
pub fn peek(
    path: &Path,
    options: &PeekOptions,
    observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Peek> {
    let shape = InputShape::channels_first(options.input_shape);
    let unfit = |error: anyhow::Error| Error::Model { path: path.into(), problem: format!("{error:#}") };
    if options.layer.is_some() && options.chain.is_some() {
        return Err(Error::Option("layer and chain exclude each other; leave one of them out".into()));
    }
    let layer = layer(path, shape, options.chain.as_deref(), options.layer.as_deref()).map_err(unfit)?;
    let mut observe = |at: Progress| observe(at.confirmed);
    let found =
        look(&layer, shape, options.seed, rayon::current_num_threads(), &mut observe).map_err(unfit)?;
    Ok(Peek {
        confidence: found.evidence.iter().map(|evidence| evidence.probability()).collect(),
        pictures: found.pictures,
        shared_backgrounds: found.backgrounds,
        layer: layer.name,
        directions: found.directions,
        diagnostics: found.diagnostics,
        stopped_early: found.stopped_early,
    })
}
