//! `palimpsest audit`: from somebody's weight file to a report, in one folder.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use palimpsest_datasets::{Block, Counts, DataName};
use palimpsest_report::answer_sentences;

use super::data::{DataArgs, VictimData, quoted};
use super::evaluate::{self, EvaluateArgs};
use super::normalize::Normalize;
use super::printed::print;
use super::report;
use super::task::VictimTask;
use crate::attacking::audit::{AuditArgs, attacked};
use crate::attacking::input_shape::InputShape;
use crate::attacking::model_file::load_model;
use crate::attacking::unjudged::{JUDGE_PAGE, unjudged};
use crate::terminal::serve::Serving;
use crate::terminal::{Misuse, lock_folder, output};

/// Audit somebody's network: read it, judge from its weights whether it looks exposed, attack it, and report.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  palimpsest audit net.safetensors --input-shape 3x32x32 --out runs/audit
  palimpsest audit net.pth --input-shape 1x28x28 --input-range -1,1 --mean mean.npy --time-limit 600 --out runs/audit
  palimpsest audit table.npz --out runs/table
  palimpsest audit net.safetensors --input-shape 3x32x32 --truth cifar10 --data-dir data/cifar10 --task animals-vehicles --n 100 --out runs/audit
  palimpsest audit net.pth --input-shape 1x28x28 --truth npz --data-dir my-data --task classes --out runs/mine
  palimpsest audit keras.h5 --input-shape 32x32x3 --truth npz --data-dir my-data --task 1/0 --out runs/last

Writes report.html, report.md and report.json, and what `reconstruct` writes, into one folder. Training data given with
--truth are checked before the attack, which does not see them, and judge it afterwards; the judge's page goes into the
subfolder `judge`.")]
pub struct JudgedAuditArgs {
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    truth: TruthArgs,
}

/// The training data, if whoever audits has them.
#[derive(Clone, Debug, Default, Args)]
struct TruthArgs {
    /// Training data to judge the result by, as `evaluate --data` names them; checked before the attack, used after it.
    #[arg(long, value_name = "DATA", requires = "task", help_heading = "Judge")]
    truth: Option<DataName>,
    /// Folder with the data; for npz, with train.npz and test.npz (inputs, labels).
    #[arg(long, value_name = "DIR", requires = "truth", help_heading = "Judge")]
    data_dir: Option<PathBuf>,
    /// Task: odd-even, animals-vehicles, or two sets as in 0,1,2/3,4 (the first is +1); classes for all labels, three and
    /// more sets as in 0,1/2,3/4; regression for the label as a number.
    #[arg(long, value_name = "TASK", requires = "truth", help_heading = "Judge")]
    task: Option<VictimTask>,
    /// Training examples: equally many of each label, the first ones in file order [default: what --counts says, or all that
    /// train.npz holds].
    #[arg(long, value_name = "N", requires = "truth", help_heading = "Judge")]
    n: Option<usize>,
    /// Other numbers of each label: 70/30 or first:37.
    #[arg(long, value_name = "COUNTS", requires = "truth", help_heading = "Judge")]
    counts: Option<Counts>,
    /// Block of the training images: dev, calibrate or report, or positions in the published file as in 2000..3000.
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
    /// What else was done to inputs in training: mean-image, none, or one MEAN,STD for all channels or one for each.
    #[arg(long, value_name = "HOW", requires = "truth", help_heading = "Judge")]
    normalize: Option<Normalize>,
}

impl TruthArgs {
    /// The same as `evaluate` spells it, with the shape of an input that the attack is told.
    fn data(&self, input_shape: Option<InputShape>) -> Option<DataArgs> {
        let Self { truth, data_dir, task, n, counts, block, subtract, normalize } = self.clone();
        let data = truth?;
        Some(DataArgs { data, data_dir, task: task?, n, counts, block, subtract, normalize, input_shape })
    }
}

/// Carries out `palimpsest audit`.
///
/// # Errors
/// Whatever keeps the audit from its end; [`Misuse`] for options that cannot work.
pub fn run(args: &JudgedAuditArgs) -> Result<()> {
    let _lock = lock_folder(&args.audit.out)?;
    let truth = args.truth.data(args.audit.input_shape).map(|data| Truth::load(args, data)).transpose()?;
    let serving = args.audit.watch.map(|port| Serving::begin(&args.audit.out, port)).transpose()?;
    if let Some(serving) = &serving {
        output::note(&format!("watch it at {}", serving.address()));
    }
    let attacked = attacked(&args.audit)?;
    let judged = truth.as_ref().map(|truth| truth.judge(args)).transpose();
    let report = unjudged(&args.audit.out)?;
    let record = attacked.done();
    let judged = judged.map_err(|error| match &truth {
        Some(truth) => error.context(truth.again(args)),
        None => error,
    })?;

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

/// Training data that judge an attack, and how they were named.
struct Truth {
    named: DataArgs,
    data: VictimData,
}

impl Truth {
    /// Loads the data and checks that they can be what the network was trained on, before any long work.
    fn load(args: &JudgedAuditArgs, named: DataArgs) -> Result<Self> {
        let data = VictimData::load(&named)?;
        let network = load_model(&args.audit.model, args.audit.chain.as_deref())?.network;
        let (given, taken) = (data.centered.ncols(), network.inputs());
        if given != taken {
            bail!(Misuse(format!(
                "the network takes {taken} values and an input of --truth {} has {given}: name the data it was trained on",
                named.data
            )));
        }
        // One output tells two labels apart.
        let (labels, told) = (data.sets.len(), network.outputs().max(2));
        if labels > told && !args.audit.regression {
            bail!(Misuse(format!(
                "--task {} has {labels} labels and the network tells {told} apart: name the task it was trained on, or \
                 --regression if it tells a number",
                named.task
            )));
        }
        Ok(Self { named, data })
    }

    /// Judges the attack's files, in a folder of its own; returns the answer in words.
    fn judge(&self, args: &JudgedAuditArgs) -> Result<String> {
        let folder = args.audit.out.join("judge");
        let _lock = lock_folder(&folder)?;
        let evaluate_args = EvaluateArgs {
            reconstruction: args.audit.out.clone(),
            data: self.named.clone(),
            out: folder.clone(),
        };
        let score = evaluate::evaluate(&evaluate_args, &self.data)?;
        let report = report::judged(&folder, &score, &self.data, &[])?;
        print(&score);
        Ok(answer_sentences(&report.answer).join(" "))
    }

    /// How to judge the attack's files without attacking again.
    fn again(&self, args: &JudgedAuditArgs) -> String {
        let out = output::absolute(&args.audit.out);
        format!(
            "the attack is done and its files are in {}, but they could not be judged; correct what is wrong and judge them without \
             attacking again: palimpsest evaluate --reconstruction {} {} --out {}",
            out.display(),
            quoted(&out.display().to_string()),
            self.named.options(),
            quoted(&out.join("judge").display().to_string())
        )
    }
}
