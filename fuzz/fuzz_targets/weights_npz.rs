//! `.npz` of weights: the archive itself, and arrays in a good one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palimpsest_fuzz::{halves, zip_of};
use palimpsest_mlp::import::read_npz;

fuzz_target!(|bytes: &[u8]| {
    let _ = read_npz(bytes);
    let (first, second) = halves(bytes);
    let _ = read_npz(&zip_of(&[("0.weight.npy", first), ("1.weight.npy", second)]));
});
