//! Pictures that many separations of the weights agree on, turned into inputs of the network.

pub(crate) mod explained;
pub(crate) mod inputs;
pub mod look;
pub mod stage;
