//! `.palimpsest`: the file itself, and a payload under a right checksum.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palimpsest_mlp::Checkpoint;

fuzz_target!(|bytes: &[u8]| {
    let _ = Checkpoint::from_bytes(bytes);
    if let Ok(checkpoint) = Checkpoint::from_bytes(&palimpsest_fuzz::checkpoint_of(bytes)) {
        assert_eq!(Checkpoint::from_bytes(&checkpoint.to_bytes()).expect("its own encoding").network, checkpoint.network);
    }
});
