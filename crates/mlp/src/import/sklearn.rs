//! Pickles of scikit-learn, `.pkl` and `.joblib`: recognised, never read, and answered with the way out.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::contents::Contents;
use super::format::Format;
use super::options::ReadOptions;

/// How much of a file is looked at for the name of a module.
const MAX_LOOKED_AT: usize = 1 << 16;

pub(super) const FORMAT: Format = Format { name: "scikit-learn .pkl", recognise, read: refuse };

/// A pickle, plain or packed by `joblib.dump(.., compress=n)`, that names scikit-learn.
fn recognise(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(MAX_LOOKED_AT)];
    match head {
        [0x80, ..] => names_sklearn(head),
        [0x78, ..] => {
            let mut unpacked = Vec::new();
            // What was unpacked before damage or the end of the head is looked at all the same.
            let _ = ZlibDecoder::new(head).take(MAX_LOOKED_AT as u64).read_to_end(&mut unpacked);
            unpacked.first() == Some(&0x80) && names_sklearn(&unpacked)
        }
        _ => false,
    }
}

fn names_sklearn(bytes: &[u8]) -> bool {
    bytes.windows(8).any(|window| window == b"sklearn.")
}

fn refuse<'a>(_: &'a [u8], _: &ReadOptions) -> Result<Contents<'a>, String> {
    Err("it is a pickle, which can only be opened by running what it says. If you trust it, two lines of Python export \
         the network:\n  \
         import joblib, numpy; m = joblib.load(\"FILE\"); m = m[-1] if hasattr(m, \"steps\") else m\n  \
         numpy.savez(\"model.npz\", **{f\"coefs_{i}\": w for i, w in enumerate(m.coefs_)}, \
         **{f\"intercepts_{i}\": b for i, b in enumerate(m.intercepts_)}, activation=m.activation, alpha=m.alpha, \
         t_=m.t_, n_iter_=m.n_iter_)"
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pickles_that_name_the_library_are_claimed() {
        assert!(recognise(b"\x80\x04\x95sklearn.neural_network"));
        assert!(!recognise(b"\x80\x02}."));
        assert!(!recognise(b"sklearn.neural_network"));
        assert!(!recognise(b"x\x9c"));
        assert!(!recognise(b""));
    }
}
