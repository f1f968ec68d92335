//! What every training tells: its record, the files of a victim, and the lines that a person reads.

use std::path::Path;

use anyhow::Result;
use palimpsest_mlp::import::save_safetensors;
use palimpsest_mlp::train::{Schedule, StopReason};
use palimpsest_mlp::{Checkpoint, Mlp, Provenance};
use palimpsest_runs::record::MODEL_FILE;
use palimpsest_runs::{MADE_BY, Snapshots, files};
use serde::{Deserialize, Serialize};

use super::descent::Descended;
use crate::terminal::output;

/// What `train.json` says of any victim.
#[derive(Debug, Serialize, Deserialize)]
pub struct Trained {
    /// What the checkpoint says of itself.
    pub provenance: Provenance,
    /// Widths of all layers.
    pub dims: Vec<usize>,
    /// Weights and biases in all.
    pub parameters: usize,
    /// Why training ended.
    pub stop: StopReason,
    /// Training examples that are still misclassified.
    pub training_errors: usize,
    /// Share of the held-out examples that are classified right; for regression, whose label is nearest to the output.
    pub test_accuracy: f64,
    /// Held-out examples.
    pub test_images: usize,
    /// Seconds of training, over all its sessions.
    pub training_s: f64,
    /// Threads it ran on; they change no bit.
    pub threads: usize,
}

impl Trained {
    /// Tells a person, and who reads events, what became of the training in the folder `out`; `more` are lines besides.
    pub(super) fn say(&self, out: &Path, more: impl IntoIterator<Item = String>) {
        if self.stop == StopReason::Observer {
            output::note("stopped early; --resume goes on from here");
        }
        output::line(&format!(
            "{} epochs in {:.1} s: log loss {:.2}, {} training errors, test accuracy {:.1} % of {}",
            self.provenance.epochs.unwrap_or(0),
            self.training_s,
            self.provenance.log_loss.unwrap_or(f64::NAN),
            self.training_errors,
            100.0 * self.test_accuracy,
            self.test_images,
        ));
        more.into_iter().for_each(|line| output::line(&line));
        output::line(&format!("wrote {}", output::absolute(&out.join(MODEL_FILE)).display()));
        output::event(
            "result",
            &serde_json::json!({
                "command": "train",
                "out": output::absolute(out),
                "epochs": self.provenance.epochs,
                "log_loss": self.provenance.log_loss,
                "training_errors": self.training_errors,
                "test_accuracy": self.test_accuracy,
                "elapsed_s": self.training_s,
            }),
        );
    }
}

/// What a victim was asked to learn, and from which start.
pub(super) struct Lesson {
    pub(super) data: String,
    pub(super) task: String,
    pub(super) examples: usize,
    pub(super) seed: u64,
    pub(super) schedule: Schedule,
    pub(super) image_shape: Option<[usize; 3]>,
}

/// A trained network whose files are not yet written.
pub(super) struct Victim {
    pub(super) checkpoint: Checkpoint,
    snapshots: Snapshots,
    stop: StopReason,
}

impl Victim {
    /// Of a network that `descended`, and what is told of it; `accuracy` is the share of held-out examples that are right,
    /// and how many these are.
    pub(super) fn of(
        descended: Descended,
        lesson: Lesson,
        accuracy: impl FnOnce(&Mlp<f32>) -> (f64, usize),
    ) -> (Self, Trained) {
        let Descended { outcome, training_s, snapshots } = descended;
        let provenance = Provenance {
            made_by: MADE_BY.into(),
            data: Some(lesson.data),
            task: Some(lesson.task),
            examples: Some(lesson.examples),
            seed: Some(lesson.seed),
            schedule: Some(lesson.schedule),
            epochs: Some(outcome.epochs),
            log_loss: Some(outcome.log_loss),
            image_shape: lesson.image_shape,
        };
        let (test_accuracy, test_images) = accuracy(&outcome.network);
        let trained = Trained {
            provenance: provenance.clone(),
            dims: outcome.network.dims(),
            parameters: outcome.network.parameters(),
            stop: outcome.reason,
            training_errors: outcome.training_errors,
            test_accuracy,
            test_images,
            training_s,
            threads: rayon::current_num_threads(),
        };
        let checkpoint = Checkpoint { network: outcome.network, provenance };
        (Self { checkpoint, snapshots, stop: outcome.reason }, trained)
    }

    /// Writes the three files of a victim; snapshots of a training that came to its end go.
    pub(super) fn write(self, folder: &Path, record: &impl Serialize) -> Result<Checkpoint> {
        self.checkpoint.save(&folder.join(MODEL_FILE))?;
        save_safetensors(&self.checkpoint.network, &folder.join("model.safetensors"))?;
        files::write_json(&folder.join("train.json"), record)?;
        if self.stop != StopReason::Observer {
            self.snapshots.remove();
        }
        Ok(self.checkpoint)
    }
}
