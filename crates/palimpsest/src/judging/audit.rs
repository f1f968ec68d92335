//! `palimpsest audit`: from somebody's weight file to a report, in one folder.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use palimpsest_datasets::{Block, Counts, DataName, Task};
use palimpsest_report::answer_sentences;

use super::data::{DataArgs, VictimData};
use super::evaluate::{self, EvaluateArgs};
use super::printed::print;
use super::report;
use crate::attacking::audit::{AuditArgs, attacked};
use crate::attacking::unjudged::{JUDGE_PAGE, unjudged};
use crate::terminal::{lock_folder, output};

/// Audit somebody's network: read it, judge from its weights whether it looks exposed, attack it, and report.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  palimpsest audit net.safetensors --input-shape 3x32x32 --out runs/audit
  palimpsest audit net.pth --input-shape 1x28x28 --input-range -1,1 --mean mean.npy --time-limit 600 --out runs/audit
  palimpsest audit table.npz --out runs/table
  palimpsest audit net.safetensors --input-shape 3x32x32 --truth cifar10 --data-dir data/cifar10 --task animals-vehicles --n 100 --out runs/audit
  palimpsest audit net.pth --truth npz --data-dir my-data --task 1/0 --n 80 --out runs/mine

Writes report.html, report.md and report.json, and what `reconstruct` writes, into one folder. Training data given with
--truth are read only after the attack; the judge's page goes into the subfolder `judge`.")]
pub struct JudgedAuditArgs {
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    truth: TruthArgs,
}

/// The training data, if whoever audits has them.
#[derive(Clone, Debug, Default, Args)]
struct TruthArgs {
    /// Training data to judge the result by, as `evaluate --data` names them; read after the attack only.
    #[arg(long, value_name = "DATA", requires_all = ["task", "n"], help_heading = "Judge")]
    truth: Option<DataName>,
    /// Folder with the data; for npz, with train.npz and test.npz (inputs, labels).
    #[arg(long, value_name = "DIR", requires = "truth", help_heading = "Judge")]
    data_dir: Option<PathBuf>,
    /// Task: odd-even, animals-vehicles, or classes as in 0,1,2/3,4 (the first set is +1).
    #[arg(long, value_name = "TASK", requires = "truth", help_heading = "Judge")]
    task: Option<Task>,
    /// Training examples: the first n/2 of each label, in file order.
    #[arg(long, value_name = "N", requires = "truth", help_heading = "Judge")]
    n: Option<usize>,
    /// Other numbers of each label, n in all: 70/30 or first:37.
    #[arg(long, value_name = "COUNTS", requires = "truth", help_heading = "Judge")]
    counts: Option<Counts>,
    /// Block of the training images: dev, calibrate or report.
    #[arg(long, value_name = "BLOCK", requires = "truth", help_heading = "Judge")]
    block: Option<Block>,
    /// What was taken from every raw input in training, if it was not the training mean; 0 if nothing was.
    #[arg(
        long,
        value_name = "VALUE",
        requires = "truth",
        allow_negative_numbers = true,
        help_heading = "Judge"
    )]
    subtract: Option<f32>,
}

impl TruthArgs {
    fn data(&self) -> Option<DataArgs> {
        let Self { truth, data_dir, task, n, counts, block, subtract } = self.clone();
        Some(DataArgs { data: truth?, data_dir, task: task?, n: n?, counts, block, subtract })
    }
}

/// Carries out `palimpsest audit`.
///
/// # Errors
/// Whatever keeps the audit from its end; [`Misuse`](crate::terminal::Misuse) for options that cannot work.
pub fn run(args: &JudgedAuditArgs) -> Result<()> {
    let _lock = lock_folder(&args.audit.out)?;
    let attacked = attacked(&args.audit)?;
    let judged = args.truth.data().map(|data| judge(args, data)).transpose()?;
    let report = unjudged(&args.audit.out)?;
    let record = attacked.done();

    let page = output::absolute(&args.audit.out.join("report.html"));
    let sentences = answer_sentences(&report.answer).join(" ");
    output::line(&sentences);
    if let Some(judged) = &judged {
        output::line(&format!("The judge, with the training data: {judged}"));
        output::line(&format!(
            "judge's page: {}",
            output::absolute(&args.audit.out.join(JUDGE_PAGE)).display()
        ));
    }
    output::line(&format!("report: {}", page.display()));
    output::event(
        "result",
        &serde_json::json!({
            "command": "audit",
            "answer": report.answer,
            "sentences": sentences,
            "judge": judged,
            "report": page,
            "elapsed_s": record.elapsed_s,
        }),
    );
    Ok(())
}

/// Judges the attack's files by the training data, in a folder of its own; returns the answer in words.
fn judge(args: &JudgedAuditArgs, data_args: DataArgs) -> Result<String> {
    let folder = args.audit.out.join("judge");
    let _lock = lock_folder(&folder)?;
    let data = VictimData::load(&data_args)?;
    let evaluate_args =
        EvaluateArgs { reconstruction: args.audit.out.clone(), data: data_args, out: folder.clone() };
    let score = evaluate::evaluate(&evaluate_args, &data)?;
    let report = report::judged(&folder, &score, &data, &[])?;
    print(&score);
    Ok(answer_sentences(&report.answer).join(" "))
}
