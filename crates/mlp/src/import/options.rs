//! What the user says of a file.

/// What the user says of a file that does not speak for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Which chain of dense layers is meant, by its name in [`Imported::chains`](super::Imported::chains) or by how the
    /// names of its layers begin; several joined by `+` are applied one after the other.
    pub chain: Option<String>,
}

impl ReadOptions {
    /// Options that take the chain of that name.
    pub fn of_chain(name: &str) -> Self {
        Self { chain: Some(name.to_owned()) }
    }
}
