//! A small reverse-mode tape whose rules are written in its own operations, so gradients differentiate again.
