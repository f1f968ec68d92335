//! The judgement of an attack, whole: the list as it is ranked, the pool of candidates beside its nulls, the claims of
//! confidence, and whether the truth can be that of these weights at all.
//!
//! | question | module |
//! |---|---|
//! | how many training images can be read in the first n of the list, without any truth at hand? | [`legible`] |
//! | how many have a candidate of their own in the pool, and how many would without having been trained on? | [`pool`] |
//! | is what is called sure real? | [`reliability`] |
//! | does a candidate's confidence, over all of them, mean what it says? | [`calibration`] |
//! | what do the directions of the weights keep of the truth? | [`span`] |
//!
//! [`evaluate`] answers all but the last but one in one pass. Time is the caller's to measure.

pub mod calibration;
mod evaluate;
pub mod legible;
pub mod pool;
pub mod reliability;
pub mod span;

pub use evaluate::{Evidence, Judgement, evaluate};
