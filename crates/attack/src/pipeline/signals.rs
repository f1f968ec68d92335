//! What the signals that the network sends back say of each entry of the list.

use ndarray::{ArrayView2, s};

use crate::error::AttackError;
use crate::evidence::left_factors::likeness;
use crate::pipeline::entries::Entries;
use crate::pipeline::list::{List, looked_at};
use crate::stages::context::AttackContext;

impl List {
    /// The list with how much the weights' left factor of each entry is like the signal of that entry, and like that of its negative.
    ///
    /// # Errors
    /// [`AttackError::Factor`] when an estimate is not finite.
    pub(super) fn with_signals(
        mut self,
        context: &AttackContext<'_>,
        entries: &mut Entries,
    ) -> Result<Self, AttackError> {
        if self.witnesses.iter().any(Option::is_none) {
            return Ok(self);
        }
        let signals = signals(context, self.estimates.view())?;
        for (of, signals) in self.witnesses.iter_mut().flatten().zip(signals) {
            of.signals = Some(signals);
        }
        Ok(self.surest_first(entries))
    }
}

/// Both cosines of each of the first `estimates` (k, r), those that there may be inputs.
fn signals(
    context: &AttackContext<'_>,
    estimates: ArrayView2<'_, f32>,
) -> Result<Vec<[f32; 2]>, AttackError> {
    let first = estimates.nrows().min(looked_at(context.problem.rank()));
    let of_each = likeness(context.problem, estimates.slice(s![..first, ..]), context.threads)?;
    Ok(of_each.iter().map(|likeness| likeness.without_others.map(|cosine| cosine as f32)).collect())
}
