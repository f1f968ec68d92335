//! The command line of an attack, and what it means.

use std::ops::Range as NumberRange;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use palimpsest_attack::search::alternating::AlternatingParams;
use palimpsest_attack::search::annealed::DescentParams;
use palimpsest_attack::search::published::GradientParams;
use palimpsest_attack::stages::deflation::DeflationParams;
use palimpsest_attack::{AttackParams, Method, PatternParams, PriorKnowledge, SaturationParams, Task};
use palimpsest_numerics::range::within;
use palimpsest_runs::PoolForm;
use palimpsest_unmix::agreement::AgreementParams;
use palimpsest_unmix::separation::SeparationParams;

use crate::attacking::bounds::{RESTARTS_IN_TIME, check};
use crate::attacking::input_shape::InputShape;
use crate::terminal::{Misuse, ResumeArgs};

/// Attack the weights of a network; sees the weights and declared prior knowledge only.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  palimpsest reconstruct --model runs/victim/model.palimpsest --out runs/attack
  palimpsest reconstruct --model net.safetensors --input-shape 3x32x32 --restarts 20 --time-limit 120 --out runs/attack
  palimpsest reconstruct --model net.safetensors --method gradient --candidates 200 --restarts 1 --out runs/published
  palimpsest reconstruct --model net.safetensors --restarts 0..64 --resume --out part-0

Writes reconstructions.npy (solved for exactly or merged, surest first) and run.json; of all candidates candidates.npy (one row a candidate,
as the network sees inputs; see --keep-pool), multipliers.npy, labels.npy, confidence.npy (probability of being real), agreement.npy (across restarts), bias_shares.npy (whether the biases of the first layer speak for a candidate).
With --restarts A..B it makes these restarts and nothing else: part.json, and restarts.bin when all are done. `palimpsest merge` joins
parts, and does what needs all restarts: the search for activation patterns, pooling. Separations are made by each part again.
Ctrl-C stops early and keeps every restart that has finished; the same command with --resume goes on where it stopped,
and so it does after a kill.")]
pub struct ReconstructArgs {
    /// The network: .palimpsest, or a chain of dense layers in .safetensors, .pth, .pt or .npz.
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Which chain of dense layers is meant, where a file holds several or other layers before a dense head.
    #[arg(long, value_name = "NAME")]
    pub chain: Option<String>,
    /// The attack.
    #[arg(long, value_enum, default_value_t = MethodName::Annealed)]
    pub method: MethodName,
    /// Candidates per restart, as many of each label as can be [default: twice the rank estimated from the spectrum].
    #[arg(long, value_name = "M")]
    pub candidates: Option<usize>,
    /// Restarts, pooled [default: 8; with --time-limit, as many as fit, at most 48, unless most inputs are
    /// solved for exactly after the first 8, or rounds of restarts have taken enough out of the equation]. Numbers as in 0..64 (64 is
    /// not among them) make these restarts only, as part of a run, for `palimpsest merge`.
    #[arg(long, value_name = "R or A..B")]
    pub restarts: Option<Restarts>,
    /// With --restarts A..B: the folders of earlier parts, where restarts come in rounds that each need the rounds before.
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub known: Vec<PathBuf>,
    /// Steps of each restart [default: 800 annealed, 1000 alternating, 50000 gradient].
    #[arg(long, value_name = "STEPS")]
    pub steps: Option<usize>,
    /// Seed of the starts.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// Threads [default: all cores]; the result is the same for any number.
    #[arg(long, value_name = "T")]
    pub threads: Option<usize>,
    /// Seconds after which no restart is begun or continued; the result then depends on the machine. If no restart
    /// ended, the list is what separations of the weights found.
    #[arg(long, value_name = "SECONDS")]
    pub time_limit: Option<f64>,
    /// Smallest and largest raw input value, declared prior knowledge.
    #[arg(long, value_name = "LO,HI", default_value = "0,1", allow_hyphen_values = true)]
    pub input_range: Range,
    /// Channels, height and width of an input, so that images are separated from the weights and reports show pictures; with the
    /// channels last, as in 32x32x3, if the network takes them so [default: from a .palimpsest file].
    #[arg(long, value_name = "CxHxW")]
    pub input_shape: Option<InputShape>,
    /// Typical Euclidean norm of an input as the network saw it, declared prior knowledge [default: for images estimated from the input range,
    /// for rows from the weights].
    #[arg(long, value_name = "NORM")]
    pub input_norm: Option<f64>,
    /// The network tells a number instead of classes, trained by the squared error.
    #[arg(long)]
    pub regression: bool,
    /// Annealed: first and last gate slope, in units of one over the typical pre-activation.
    #[arg(long, value_name = "A0,A1", help_heading = "Research options")]
    pub alpha: Option<Range>,
    /// Annealed: largest step of a coordinate, in units of a typical coordinate.
    #[arg(long, value_name = "STEP", help_heading = "Research options")]
    pub step_size: Option<f64>,
    /// Annealed: largest step of the logarithm of a multiplier.
    #[arg(long, value_name = "STEP", help_heading = "Research options")]
    pub multiplier_step_size: Option<f64>,
    /// Annealed: norm of a start, in units of the norm of an input.
    #[arg(long, value_name = "NORM", help_heading = "Research options")]
    pub initial_norm: Option<f64>,
    /// Annealed: power of the singular value by which steps of a coordinate are scaled.
    #[arg(long, value_name = "POWER", help_heading = "Research options")]
    pub step_power: Option<f64>,
    /// Annealed: power of its expected error by which the equation of a coordinate is divided; 0 counts all alike.
    #[arg(long, value_name = "POWER", help_heading = "Research options")]
    pub coordinate_error_power: Option<f64>,
    /// Annealed: the same for the equation of a neuron.
    #[arg(long, value_name = "POWER", help_heading = "Research options")]
    pub neuron_error_power: Option<f64>,
    /// Annealed: weight of the squared norms of the candidates beside the residual; 0 for none [default: 0.05 where the weights
    /// say that the equation is exact, else 0.15].
    #[arg(long, value_name = "WEIGHT", help_heading = "Research options")]
    pub norm_penalty: Option<f64>,
    /// Annealed: weight of the smoothness prior of images, where the weights are sums of smooth ones; 0 for squared norms [default: 2.5].
    #[arg(long, value_name = "W", help_heading = "Research options")]
    pub smoothness: Option<f64>,
    /// Annealed: weight of the sparse-edge prior of images beside the equation; 0 for none [default: 1, that of a likelihood].
    #[arg(long, value_name = "W", help_heading = "Research options")]
    pub edge_sparsity: Option<f64>,
    /// Annealed: share of the steps of a random restart after which that prior counts [default: 0.5].
    #[arg(long, value_name = "SHARE", help_heading = "Research options")]
    pub edge_sparsity_after: Option<f64>,
    /// Annealed: share of the steps after which candidates that the biases say are negatives are turned round; 1 for never.
    #[arg(long, alias = "mirror-check", value_name = "SHARE", help_heading = "Research options")]
    pub sign_check: Option<f64>,
    /// Annealed: first multiplier, in units of the one at which orthogonal gradients would explain the first layer.
    #[arg(long, value_name = "LAMBDA", help_heading = "Research options")]
    pub initial_multiplier: Option<f64>,
    /// Annealed: most rounds of the search for activation patterns, which solves for inputs exactly where weight decay made the
    /// equation exact [default: 20; 0 leaves it out].
    #[arg(long, value_name = "ROUNDS", help_heading = "Research options")]
    pub pattern_rounds: Option<usize>,
    /// Annealed: begin no restart with images separated from the row space of the weights.
    #[arg(long, help_heading = "Research options")]
    pub no_separation: bool,
    /// Annealed: make restarts independently of each other, never in rounds between which what was found is taken out of the equation.
    #[arg(long, help_heading = "Research options")]
    pub no_deflation: bool,
    /// Coordinates to work in [default: estimated from the spectrum].
    #[arg(long, value_name = "RANK", help_heading = "Research options")]
    pub rank: Option<usize>,
    /// In which form all candidates are kept [default: inputs, or coordinates where these would take more than 64 MiB].
    #[arg(long, value_enum, value_name = "FORM", num_args = 0..=1, default_missing_value = "coordinates")]
    pub keep_pool: Option<PoolName>,
    /// Whether restarts end by themselves when nothing new comes, unless their number is given.
    #[arg(skip)]
    pub until_nothing_new: bool,
    /// Whether the best list so far is told while the attack is under way, and written as a report.
    #[arg(skip)]
    pub live: bool,
    /// Folder for the results.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// How to go on after an interrupt.
    #[command(flatten)]
    pub resume: ResumeArgs,
}

impl ReconstructArgs {
    /// The default attack on `model` with results in `out`.
    pub fn defaults(model: PathBuf, out: PathBuf) -> Self {
        Self {
            model,
            chain: None,
            method: MethodName::Annealed,
            candidates: None,
            restarts: None,
            known: Vec::new(),
            steps: None,
            seed: 0,
            threads: None,
            time_limit: None,
            input_range: Range(0.0, 1.0),
            input_norm: None,
            input_shape: None,
            regression: false,
            alpha: None,
            step_size: None,
            multiplier_step_size: None,
            initial_norm: None,
            step_power: None,
            coordinate_error_power: None,
            neuron_error_power: None,
            norm_penalty: None,
            smoothness: None,
            edge_sparsity: None,
            edge_sparsity_after: None,
            sign_check: None,
            initial_multiplier: None,
            pattern_rounds: None,
            no_separation: false,
            no_deflation: false,
            rank: None,
            keep_pool: None,
            until_nothing_new: false,
            live: false,
            resume: ResumeArgs::when_possible(&out),
            out,
        }
    }
}

/// In which form all candidates are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PoolName {
    /// `candidates.npy`, as the network sees inputs.
    Inputs,
    /// `pool_coordinates.npy` and `pool_basis.npy`, whose product it is; inputs where candidates are no such product.
    Coordinates,
}

impl From<PoolName> for PoolForm {
    fn from(name: PoolName) -> Self {
        match name {
            PoolName::Inputs => Self::Inputs,
            PoolName::Coordinates => Self::Coordinates,
        }
    }
}

/// Restarts unless told otherwise.
const RESTARTS: usize = 8;

/// How many restarts, or which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restarts {
    /// That many, from the first.
    Count(usize),
    /// Those of these numbers, as part of a run.
    Numbers(NumberRange<u64>),
}

impl std::str::FromStr for Restarts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let told = match text.split_once("..") {
            None => number(text).and_then(|count| usize::try_from(count).ok()).map(Self::Count),
            Some((start, end)) => {
                number(start).zip(number(end)).filter(|(a, b)| a < b).map(|(a, b)| Self::Numbers(a..b))
            }
        };
        told.ok_or_else(|| {
            format!("expected a number, or a range that is not empty, as in 0..64; got {text}")
        })
    }
}

/// Name of an attack on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MethodName {
    /// Descent on the first layer's residual while the gates sharpen.
    Annealed,
    /// Gates fixed, least squares, repeat.
    Alternating,
    /// Published momentum descent (Haim et al. 2022).
    Gradient,
}

/// `LO,HI` on the command line.
#[derive(Clone, Copy, Debug)]
pub struct Range(pub f64, pub f64);

impl std::str::FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Result<Vec<f64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
        match parts.as_deref() {
            Ok(&[low, high]) if low < high && low.is_finite() && high.is_finite() => Ok(Self(low, high)),
            _ => Err(format!("expected two numbers, the smaller first, as in 0,1 or -1,1; got {text}")),
        }
    }
}

/// The parameters of the attack that `args` describe, checked.
pub(super) fn params(args: &ReconstructArgs) -> Result<AttackParams> {
    if args.method != MethodName::Annealed
        && let Some(name) = annealed_only(args)
    {
        bail!(Misuse(format!("{name} belongs to --method annealed; leave it out")));
    }
    let ends = args.until_nothing_new && args.restarts.is_none() && args.method == MethodName::Annealed;
    let restarts = match &args.restarts {
        Some(Restarts::Count(count)) => *count,
        Some(Restarts::Numbers(numbers)) => usize::try_from(numbers.end).unwrap_or(usize::MAX),
        None if ends || args.time_limit.is_some() => RESTARTS_IN_TIME,
        None => RESTARTS,
    };
    let mut params = AttackParams::of(method(args), restarts);
    params.candidates = args.candidates;
    params.rank = args.rank;
    params.saturation = ends.then(SaturationParams::default);
    params.prior = PriorKnowledge {
        input_range: (args.input_range.0, args.input_range.1),
        input_norm: args.input_norm,
        image_shape: None,
        task: if args.regression { Task::Regression } else { Task::Classification },
    };
    choose_stages(args, &mut params);
    check(&params)?;
    Ok(params)
}

/// An option that was given and that only annealed descent has.
fn annealed_only(args: &ReconstructArgs) -> Option<&'static str> {
    [
        ("--alpha", args.alpha.is_some()),
        ("--step-size", args.step_size.is_some()),
        ("--multiplier-step-size", args.multiplier_step_size.is_some()),
        ("--initial-norm", args.initial_norm.is_some()),
        ("--step-power", args.step_power.is_some()),
        ("--coordinate-error-power", args.coordinate_error_power.is_some()),
        ("--neuron-error-power", args.neuron_error_power.is_some()),
        ("--norm-penalty", args.norm_penalty.is_some()),
        ("--smoothness", args.smoothness.is_some()),
        ("--edge-sparsity", args.edge_sparsity.is_some()),
        ("--edge-sparsity-after", args.edge_sparsity_after.is_some()),
        ("--sign-check", args.sign_check.is_some()),
        ("--initial-multiplier", args.initial_multiplier.is_some()),
        ("--pattern-rounds", args.pattern_rounds.is_some()),
    ]
    .into_iter()
    .find_map(|(name, given)| given.then_some(name))
}

/// The search and its options.
fn method(args: &ReconstructArgs) -> Method {
    match args.method {
        MethodName::Annealed => Method::Annealed(descent(args)),
        MethodName::Alternating => {
            let defaults = AlternatingParams::default();
            Method::Alternating(AlternatingParams { steps: args.steps.unwrap_or(defaults.steps), ..defaults })
        }
        MethodName::Gradient => {
            let defaults = GradientParams::default();
            Method::Gradient(GradientParams { steps: args.steps.unwrap_or(defaults.steps), ..defaults })
        }
    }
}

/// The options of annealed descent.
fn descent(args: &ReconstructArgs) -> DescentParams {
    let defaults = DescentParams::default();
    DescentParams {
        steps: args.steps.unwrap_or(defaults.steps),
        alpha: args.alpha.map_or(defaults.alpha, |range| (range.0, range.1)),
        step_size: args.step_size.unwrap_or(defaults.step_size),
        multiplier_step_size: args.multiplier_step_size.unwrap_or(defaults.multiplier_step_size),
        step_power: args.step_power.unwrap_or(defaults.step_power),
        coordinate_error_power: args.coordinate_error_power.unwrap_or(defaults.coordinate_error_power),
        neuron_error_power: args.neuron_error_power.unwrap_or(defaults.neuron_error_power),
        norm_penalty: args.norm_penalty.or(defaults.norm_penalty),
        smoothness: args.smoothness.unwrap_or(defaults.smoothness),
        edge_sparsity: args.edge_sparsity.unwrap_or(defaults.edge_sparsity),
        edge_sparsity_after: args.edge_sparsity_after.unwrap_or(defaults.edge_sparsity_after),
        sign_check: args.sign_check.unwrap_or(defaults.sign_check),
        initial_norm: args.initial_norm.unwrap_or(defaults.initial_norm),
        initial_multiplier: args.initial_multiplier.unwrap_or(defaults.initial_multiplier),
    }
}

/// The stages beside the search, which only annealed descent has: the other attacks are kept as they were published and compared.
fn choose_stages(args: &ReconstructArgs, params: &mut AttackParams) {
    let annealed = args.method == MethodName::Annealed;
    let defaults = PatternParams::default();
    let rounds = args.pattern_rounds.unwrap_or(defaults.rounds);
    params.patterns = (annealed && rounds > 0).then_some(PatternParams { rounds, ..defaults });
    params.separation = (annealed && !args.no_separation).then(SeparationParams::default);
    params.agreement = (annealed && !args.no_separation).then(AgreementParams::default);
    params.deflation = (annealed && !args.no_deflation).then(DeflationParams::default);
}

pub(super) fn time_limit(seconds: f64) -> Result<Duration> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if !limit.is_zero() => Ok(limit),
        _ => bail!(Misuse(format!(
            "--time-limit must be a number of seconds above 0 and below 1e19, got {seconds}"
        ))),
    }
}

pub(crate) fn threads(asked: Option<usize>) -> Result<usize> {
    match asked {
        None => Ok(rayon::current_num_threads()),
        Some(threads) => {
            within("--threads", threads, 1..=1024, "between 1 and 1024").map_err(Misuse::from)?;
            Ok(threads)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_attack_without_a_number_of_restarts_ends_by_itself() {
        let of = |restarts, until_nothing_new| {
            let defaults = ReconstructArgs::defaults("net".into(), "out".into());
            let params = params(&ReconstructArgs { restarts, until_nothing_new, ..defaults }).unwrap();
            (params.restarts, params.saturation.is_some())
        };
        assert_eq!(of(None, true), (48, true));
        assert_eq!(of(Some(Restarts::Count(5)), true), (5, false));
        assert_eq!(of(None, false), (8, false));
    }

    #[test]
    fn restarts_are_a_count_or_numbers() {
        assert_eq!("8".parse(), Ok(Restarts::Count(8)));
        assert_eq!("0..64".parse(), Ok(Restarts::Numbers(0..64)));
        assert_eq!("64 .. 65".parse(), Ok(Restarts::Numbers(64..65)));
        for wrong in
            ["", "..", "3..3", "4..3", "1..", "..4", "-1..4", "1...4", "0..=4", "1.5", "x", "1..2..3"]
        {
            assert!(wrong.parse::<Restarts>().is_err(), "{wrong}");
        }
    }
}
