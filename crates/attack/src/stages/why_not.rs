//! Why a stage does not apply.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a stage does not apply to a network: one sentence for whoever reads the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyNot(Cow<'static, str>);

impl WhyNot {
    /// From a sentence without a full stop, as in "the shape of an image was not declared".
    pub fn because(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
