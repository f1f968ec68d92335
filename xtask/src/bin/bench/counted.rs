//! Counts allocations, in this program alone.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations of this process so far.
pub(super) fn allocations() -> usize {
    let stats = COUNTED.stats();
    stats.allocations + stats.reallocations
}
