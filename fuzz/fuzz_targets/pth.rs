//! `.pth`: the archive itself, and a pickle in a good one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palimpsest_fuzz::zip_of;
use palimpsest_mlp::import::read_pth;

fuzz_target!(|bytes: &[u8]| {
    let _ = read_pth(bytes);
    let numbers = [1; 640];
    let _ = read_pth(&zip_of(&[
        ("a/data.pkl", bytes),
        ("a/byteorder", b"little"),
        ("a/data/0", &numbers),
        ("a/data/1", &numbers[..64]),
        ("a/data/2", &numbers[..40]),
    ]));
});
