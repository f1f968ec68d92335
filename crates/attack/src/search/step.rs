//! Where a restart of an attack is while it is under way.

use crate::search::state::RunState;

/// Where a restart is, as its observer sees it.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Steps taken.
    pub index: usize,
    /// Steps planned.
    pub steps: usize,
    /// Relative residual before this step (of the alternating attack: at the last point of its curve).
    pub relative_residual: f64,
    /// Everything from which the restart goes on.
    pub state: &'a RunState,
}
