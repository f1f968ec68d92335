//! Which kinds of files are read: one line each.

use super::format::Format;
use super::{keras, npz, onnx, pth, safetensors, sklearn, skops};

/// Every kind that is known, in the order in which a file is tried.
const FORMATS: &[Format] = &[
    safetensors::FORMAT,
    keras::H5,
    keras::ARCHIVE,
    skops::FORMAT,
    sklearn::FORMAT,
    npz::FORMAT,
    pth::FORMAT,
    onnx::FORMAT,
];

impl Format {
    /// The kind that bytes are of, by how they begin.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        FORMATS.iter().find(|format| (format.recognise)(bytes)).copied()
    }

    /// All kinds that are known.
    pub fn all() -> &'static [Self] {
        FORMATS
    }
}
