//! The order of layers whose names do not number them, by their widths.

use super::unit::{Layout, Unit};

/// Most steps in search of an order; a hostile file could ask for any number.
const MAX_STEPS: usize = 100_000;

/// Why there is no order.
pub(super) enum NoOrder {
    Several,
    None,
    HardToTell,
}

/// The one order of all layers that keeps the order inside each group and lets widths chain.
pub(super) fn merge<'u>(groups: &[&[&'u Unit]], layout: Layout) -> Result<Vec<&'u Unit>, NoOrder> {
    let total = groups.iter().map(|group| group.len()).sum::<usize>();
    let mut taken = vec![0; groups.len()];
    let mut path: Vec<usize> = Vec::new();
    let mut order: Vec<&Unit> = Vec::new();
    let mut answer: Option<Vec<&Unit>> = None;
    let mut next = 0;
    // Depth first with the stack in hand: `path` says which group each layer of `order` came from.
    for _ in 0..MAX_STEPS {
        let fits = |&group: &usize| {
            groups[group].get(taken[group]).is_some_and(|unit| {
                order.last().is_none_or(|last| last.outputs(layout) == unit.inputs(layout))
            })
        };
        if let Some(group) = (next..groups.len()).find(fits) {
            order.push(groups[group][taken[group]]);
            path.push(group);
            taken[group] += 1;
            next = 0;
            if order.len() == total && answer.replace(order.clone()).is_some() {
                return Err(NoOrder::Several);
            }
        } else if let Some(group) = path.pop() {
            order.pop();
            taken[group] -= 1;
            next = group + 1;
        } else {
            return answer.ok_or(NoOrder::None);
        }
    }
    Err(NoOrder::HardToTell)
}
