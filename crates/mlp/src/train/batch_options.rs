//! Options of training in batches, in the conventions of PyTorch.

use std::ops::Bound;

use palimpsest_numerics::range::{at_least_one, not_negative, positive, within};
use serde::{Deserialize, Serialize};

use super::augmentation::Augmentation;
use crate::MlpError;

/// Training in batches: one step of the optimiser a batch.
///
/// With `batch_size` of n or more it is full-batch training. An epoch's last batch is smaller when `batch_size` does not
/// divide n, and its loss is the mean over what it has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchSchedule {
    /// Rule of a step.
    pub optimizer: Optimizer,
    /// Step size, > 0.
    pub learning_rate: f64,
    /// How the learning rate falls, if it does.
    pub rate_decay: Option<RateDecay>,
    /// Examples a step, >= 1.
    pub batch_size: usize,
    /// Order of the examples.
    pub order: BatchOrder,
    /// Strength w of weight decay, >= 0: w theta is added to the gradient, with AdamW to the step.
    pub weight_decay: f64,
    /// What decays.
    pub decayed: Decayed,
    /// Share of hidden values that are set to 0 in a step, in [0, 1); the others are divided by 1 minus it.
    ///
    /// # Source
    /// Srivastava et al. (2014); scaled in training, as in PyTorch.
    pub dropout: f64,
    /// How inputs are altered in each step, if they are.
    pub augmentation: Option<Augmentation>,
    /// Seed of orders, dropout and augmentation.
    pub seed: u64,
}

/// The rule of a step; nothing is bound to a batch size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Optimizer {
    /// Stochastic gradient descent: v <- momentum v + gradient; theta <- theta - rate v.
    Sgd {
        /// Momentum, in [0, 1).
        momentum: f64,
    },
    /// Adam, whose gradient contains the weight decay (coupled).
    ///
    /// # Source
    /// Kingma and Ba (2015), algorithm 1; decay as in PyTorch's `Adam(weight_decay)` and scikit-learn's `alpha`.
    Adam(Moments),
    /// Adam with decoupled weight decay: theta <- (1 - rate w) theta before each step.
    ///
    /// # Source
    /// Loshchilov and Hutter (2019), algorithm 2; decay times the rate, as in PyTorch.
    AdamW(Moments),
}

/// Averages of Adam.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Of the gradient, in [0, 1).
    pub beta1: f64,
    /// Of its square, in [0, 1).
    pub beta2: f64,
    /// Added to the root of the second, > 0.
    pub epsilon: f64,
}

impl Default for Moments {
    /// 0.9, 0.999 and 1e-8: those of the paper, of PyTorch and of scikit-learn.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

/// A learning rate that falls in steps, as PyTorch's `StepLR`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateDecay {
    /// Epochs between falls, >= 1.
    pub every: usize,
    /// What the rate is multiplied by, in (0, 1].
    pub factor: f64,
}

/// In which order batches are taken; a single batch of all examples is always in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BatchOrder {
    /// Another one each epoch, from the seed.
    Shuffled,
    /// As the inputs were given.
    AsGiven,
}

/// Which parameters weight decay draws to 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decayed {
    /// Weights and biases: PyTorch's optimisers, if nothing else is said.
    AllParameters,
    /// Weights alone: scikit-learn, Keras' kernel regularisers, and common PyTorch recipes. The gradient by a bias is then 0 at a
    /// stationary point.
    Weights,
}

impl BatchSchedule {
    /// Shuffled batches without weight decay, dropout or augmentation, at a constant rate.
    pub fn new(optimizer: Optimizer, learning_rate: f64, batch_size: usize, seed: u64) -> Self {
        Self {
            optimizer,
            learning_rate,
            rate_decay: None,
            batch_size,
            order: BatchOrder::Shuffled,
            weight_decay: 0.0,
            decayed: Decayed::AllParameters,
            dropout: 0.0,
            augmentation: None,
            seed,
        }
    }

    /// The learning rate in an epoch, counted from 0.
    pub fn rate(&self, epoch: usize) -> f64 {
        let falls =
            |decay: RateDecay| decay.factor.powi(i32::try_from(epoch / decay.every).unwrap_or(i32::MAX));
        self.learning_rate * self.rate_decay.map_or(1.0, falls)
    }

    pub(super) fn check(&self) -> Result<(), MlpError> {
        let share = |name, value: f64| within(name, value, 0.0..1.0, "at least 0 and below 1");
        positive("learning_rate", self.learning_rate)?;
        match self.optimizer {
            Optimizer::Sgd { momentum } => share("momentum", momentum)?,
            Optimizer::Adam(moments) | Optimizer::AdamW(moments) => {
                share("beta1", moments.beta1)?;
                share("beta2", moments.beta2)?;
                positive("epsilon", moments.epsilon)?;
            }
        }
        if let Some(RateDecay { every, factor }) = self.rate_decay {
            at_least_one("rate_decay.every", every)?;
            let falling = (Bound::Excluded(0.0), Bound::Included(1.0));
            within("rate_decay.factor", factor, falling, "above 0 and at most 1")?;
        }
        at_least_one("batch_size", self.batch_size)?;
        not_negative("weight_decay", self.weight_decay)?;
        share("dropout", self.dropout)?;
        self.augmentation.map_or(Ok(()), |augmentation| augmentation.check())
    }
}
