//! Activation patterns: training inputs read off the first layer exactly, one by one.
//!
//! With weight decay the stationarity equation of the first layer is exact, `[W b] = sum_i lambda_i (t_i . g_i) x_i^T`
//! with inputs x_i that have a 1 appended, gates g_i that are 0 or 1 except on neurons that sit exactly on the input (a
//! ReLU breakpoint, where they may be anything between), and backpropagated signals t_i. Later layers collapse (see [`palimpsest_mlp::merge`]), so a
//! backpropagated signal is known from the weights up to one number: `own - s other`, where s is 1 if the neuron of the other label is
//! active, 0 if it is not, and anything between if it, too, sits on a ReLU breakpoint. So the *first-layer delta* of an input, `t_i . g_i`, is a
//! vector of the first layer's column space whose every entry lies between 0 and a known value, and most at one end. Such
//! vectors are rare; where inputs are not too much alike, one that is found is one of an input.
//!
//! * [`decode`] looks for them near candidates of another attack, by a linear program;
//! * [`polish`] makes them exact, and finds how far each neuron is from its stationary point (its gain);
//! * [`certificate`] says which are true, without the truth;
//! * a first-layer delta is `[W b] q` with a *dual* q that is orthogonal to every other input, so with K duals known the other inputs
//!   lie in a space of K dimensions less, in which [`crate::search::annealed`] looks again ([`remaining`]);
//! * where inputs are images, what is left separates into pictures better than the whole did, and patterns are looked for near these
//!   first;
//! * [`image`] solves for an input from the duals, its ReLU breakpoints and its signs, and asks whether it predicts gates that were held out;
//! * [`search`] does this in rounds.
//!
//! How this was found, and what it gives: `docs/decisions/0007-gate-patterns.md`.

pub mod certificate;
pub mod decode;
pub mod image;
pub mod layer;
pub mod pattern;
mod pictures;
pub mod polish;
pub mod remaining;
pub mod search;
pub mod stage;
mod weighted;

pub use image::PatternInput;
pub use layer::GatedLayer;
pub use pattern::ActivationPattern;
pub use search::{PatternParams, PatternStep, find_inputs};
