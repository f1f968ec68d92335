//! `skops`: the archive itself, and a schema and an array in a good one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palimpsest_fuzz::{halves, zip_of};
use palimpsest_mlp::import::read_network;

fuzz_target!(|bytes: &[u8]| {
    let _ = read_network(bytes);
    let (schema, array) = halves(bytes);
    let _ = read_network(&zip_of(&[("schema.json", schema), ("0.npy", array), ("1.npy", array)]));
});
