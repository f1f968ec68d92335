//! Whether given records were in the training set, from the weights.
//!
//! The first layer's weights are a sum of left factors times training inputs, so what training has written into them lies in
//! the span of those inputs. A record of the training set lies in that span to a small remainder; another one of the same kind
//! does not. How large a remainder is usual depends on the pictures, so it is measured in the metric of a *reference*, records
//! of the same kind that were surely not trained on ([`population`]), relative to what is expected of a record as rough as this one
//! ([`standard`]), and once more of one as simple in the strongest directions, too ([`relative`]), and compared with the remainders of the references themselves,
//! each left out of its own metric ([`span`]).
//! Where the network above the layer is known, its gradient at a member also correlates with the weights ([`gradient`]). Nothing is
//! fitted on members: each statistic becomes a p-value by the references ([`tail`]), and the smallest of both and of their product is
//! compared with the same of the references again ([`null`]). [`assess`](assess()) is all of that in one call.
//!
//! Records are declared prior knowledge of this question alone: no attack sees them.

pub mod assess;
pub mod gradient;
pub mod multipliers;
pub mod null;
pub mod population;
pub mod probability;
pub mod relative;
pub mod span;
pub mod standard;
pub mod tail;

pub use assess::{Compared, Membership, MembershipError, RecordEvidence, assess};
pub use gradient::Outputs;
pub use null::Weights;
pub use probability::{discoveries, member_probability};
