//! Adam: steps by the mean of the gradient over the root of that of its square.

use palimpsest_numerics::elementwise::vectorised;

/// Adam without weight decay.
///
/// # Source
/// Kingma and Ba (2015), with beta2 = 0.99: searches of a few hundred steps forget faster.
pub(crate) struct Adam<'a> {
    pub(crate) first: &'a mut [f32],
    pub(crate) second: &'a mut [f32],
}

/// Moments that Adam keeps.
pub(crate) const MOMENTS: usize = 2;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.99;

impl Adam<'_> {
    /// Step number `index`; the step size of entry i is multiplied by `relative[i % relative.len()]`.
    pub(crate) fn step(
        self,
        index: usize,
        values: &mut [f32],
        gradient: &[f32],
        step_size: f64,
        relative: &[f32],
    ) {
        // Beyond any such number the corrections are 1.
        let steps = i32::try_from(index + 1).unwrap_or(i32::MAX);
        let correct1 = 1.0 / (1.0 - BETA1.powi(steps));
        let correct2 = 1.0 / (1.0 - BETA2.powi(steps));
        let step = step_size as f32;
        let row = relative.len();
        let rows = values.chunks_mut(row).zip(gradient.chunks(row));
        let moments = self.first.chunks_mut(row).zip(self.second.chunks_mut(row));
        for ((values, gradient), (first, second)) in rows.zip(moments) {
            vectorised(|| {
                let moments = first.iter_mut().zip(second.iter_mut()).zip(relative);
                for ((value, &g), ((first, second), &relative)) in
                    values.iter_mut().zip(gradient).zip(moments)
                {
                    *first = BETA1 * *first + (1.0 - BETA1) * g;
                    *second = BETA2 * *second + (1.0 - BETA2) * g * g;
                    // Gradients here can be as small as 1e-8: the guard against 0/0 must be smaller still.
                    *value -= step * relative * (*first * correct1) / ((*second * correct2).sqrt() + 1e-20);
                }
            });
        }
    }
}
