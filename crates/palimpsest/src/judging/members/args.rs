//! The command line of `palimpsest members`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::attacking::input_shape::InputShape;

/// Tell which of given records a network was trained on, with a p-value each, in seconds.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  palimpsest members net.pth --records mine.npz --reference public.npz --out runs/members
  palimpsest members net.safetensors --records photos/ --reference other_photos/ --input-shape 3x32x32 --mean mean.npy --out runs/members
  palimpsest members cnn.pth --layer fc1.weight --records features.npz --reference other_features.npz --out runs/members

Training writes a network's inputs into its first layer: they lie in the span of its rows, and others do not. How far outside others
lie is told by the reference, at least 200 records of the same kind that were surely not trained on; without it records can only be
ranked. Records and reference must be as the network sees them, or --subtract or --mean make them so. With --layer any
dense layer of any file will do, and records are what that layer sees.
Writes members.csv and members.json (one line a record: p-value, probability, share outside the span, ...) and members.html. An array
`members` of zeros and ones beside the records is the truth, for a ROC curve, and changes nothing else.")]
pub struct MembersArgs {
    /// The file of weights: .palimpsest, .safetensors, .pth, .pt, .npz, .keras, .h5, .onnx or .skops.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The records in question: .npy, .npz with an array `inputs`, or a folder of PNG pictures.
    #[arg(long, value_name = "FILE")]
    pub records: PathBuf,
    /// Records of the same kind that the network was surely not trained on, at least 200.
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// Channels, height and width of a record, if it is an image, or 32x32x3 where the network takes the channels last [default: as
    /// the files say].
    #[arg(long, value_name = "CxHxW")]
    pub input_shape: Option<InputShape>,
    /// Look into this dense layer alone; records are what it sees.
    #[arg(long, value_name = "NAME", conflicts_with = "chain")]
    pub layer: Option<String>,
    /// Which chain of dense layers is meant, where a file holds several.
    #[arg(long, value_name = "NAME")]
    pub chain: Option<String>,
    /// What the outputs are: of a regression, the sign of what pulls on a record is unknown.
    #[arg(long, value_name = "KIND", value_enum, default_value_t = OutputKind::Classes)]
    pub outputs: OutputKind,
    /// Take VALUE from every raw value before the network sees it.
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true, conflicts_with = "mean")]
    pub subtract: Option<f32>,
    /// Take this mean (.npy) from every raw record, and divide by the deviations in its second row if there is one.
    #[arg(long, value_name = "FILE")]
    pub mean: Option<PathBuf>,
    /// Probability of being a member before looking, above 0 and below 1; gives each record a probability.
    #[arg(long, value_name = "P")]
    pub prior: Option<f64>,
    /// Threads [default: all cores]; the result is the same for any number.
    #[arg(long, value_name = "T")]
    pub threads: Option<usize>,
    /// Folder for the results.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// What the outputs of a network are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputKind {
    /// A margin or one logit a class.
    Classes,
    /// Numbers.
    Values,
}
