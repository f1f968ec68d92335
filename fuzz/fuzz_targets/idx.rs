//! IDX images and labels, plain or gzip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palimpsest_datasets::idx;

fuzz_target!(|bytes: &[u8]| {
    let _ = idx::parse_labels(bytes);
    if let Ok(images) = idx::parse_images(bytes) {
        assert_eq!(idx::parse_images(&idx::encode_images(images.view())).expect("its own encoding"), images);
        let _ = idx::parse(bytes, bytes, "fuzz");
    }
});
