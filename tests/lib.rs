//! The tests are in `main.rs`; here is the code of the documents, compiled and run as documentation tests.

#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../docs/reuse.md")]
    mod reuse {}
    #[doc = include_str!("../crates/attack/README.md")]
    mod attack {}
    #[doc = include_str!("../crates/autograd/README.md")]
    mod autograd {}
    #[doc = include_str!("../crates/datasets/README.md")]
    mod datasets {}
    #[doc = include_str!("../crates/metrics/README.md")]
    mod metrics {}
    #[doc = include_str!("../crates/mlp/README.md")]
    mod mlp {}
    #[doc = include_str!("../crates/numerics/README.md")]
    mod numerics {}
    #[doc = include_str!("../crates/report/README.md")]
    mod report {}
}
