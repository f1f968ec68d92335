//! Records and references as they were given, and as the network sees them.

use anyhow::{Result, bail};
use ndarray::{Array2, ArrayView2};
use palimpsest_datasets::{DatasetError, FlatOrder, InputShape as RowShape, Records, read_records};
use palimpsest_runs::record::ChannelOrder;

use super::args::MembersArgs;
use crate::attacking::audit::read_mean;
use crate::attacking::input_shape::{InputShape, columns_first};
use crate::terminal::Misuse;

/// What the caller has.
pub(super) struct Given {
    /// As the network sees them, (m, d), but images channel by channel.
    pub(super) records: Array2<f32>,
    /// The same of the references, (n, d).
    pub(super) references: Option<Array2<f32>>,
    /// Which records are members, where that was given.
    pub(super) members: Option<Vec<bool>>,
    /// Names of the records, where they have some.
    pub(super) names: Option<Vec<String>>,
    /// Channels, height and width of a record, if it is an image.
    pub(super) image: Option<[usize; 3]>,
    scaling: Scaling,
    notes: Vec<String>,
}

/// What makes a raw record what the network sees.
enum Scaling {
    Nothing,
    Constant(f32),
    /// Mean, and deviations if there are some, (1 or 2, d).
    Mean(Array2<f32>),
}

impl Scaling {
    fn apply(&self, rows: &mut Array2<f32>) {
        match self {
            Self::Nothing => {}
            Self::Constant(value) => rows.mapv_inplace(|v| v - value),
            Self::Mean(mean) => {
                *rows -= &mean.row(0);
                if mean.nrows() == 2 {
                    *rows /= &mean.row(1);
                }
            }
        }
    }

    /// Rows in their own units again.
    fn restored(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut rows = rows.to_owned();
        match self {
            Self::Nothing => {}
            Self::Constant(value) => rows.mapv_inplace(|v| v + value),
            Self::Mean(mean) => {
                if mean.nrows() == 2 {
                    rows *= &mean.row(1);
                }
                rows += &mean.row(0);
            }
        }
        rows
    }
}

impl Given {
    /// Reads what `args` name; `stored` is the shape of an image that the file of weights tells.
    pub(super) fn read(args: &MembersArgs, stored: Option<[usize; 3]>) -> Result<Self> {
        // Features of a layer are no images of the network's shape.
        let stored = stored.filter(|_| args.layer.is_none());
        let declared = args.input_shape.map(|shape| shape.sides).or(stored);
        let shape = declared.map(|[channels, height, width]| RowShape::Image { channels, height, width });
        let flat = match args.input_shape.map(|shape| shape.channels) {
            Some(ChannelOrder::Last) => FlatOrder::ChannelsLast,
            Some(ChannelOrder::First) | None => FlatOrder::ChannelsFirst,
        };
        let Records { mut inputs, shape: found, members, names, readings, .. } =
            read_records(&args.records, shape, flat).map_err(misuse)?;
        let mut notes: Vec<String> =
            readings.iter().map(|reading| format!("{}: {reading}", args.records.display())).collect();
        let mut references = None;
        if let Some(path) = &args.reference {
            let read = read_records(path, shape, flat).map_err(misuse)?;
            if read.inputs.ncols() != inputs.ncols() {
                bail!(Misuse(format!(
                    "a reference has {} values, but a record {}: give both alike",
                    read.inputs.ncols(),
                    inputs.ncols()
                )));
            }
            notes.extend(read.readings.iter().map(|reading| format!("{}: {reading}", path.display())));
            references = Some(read.inputs);
        }
        let scaling = match (args.subtract, &args.mean) {
            (Some(value), _) if !value.is_finite() => {
                bail!(Misuse(format!("--subtract must be a finite number, as 0 or 0.5, got {value}")))
            }
            (Some(value), _) => Scaling::Constant(value),
            (None, Some(path)) => Scaling::Mean(in_order(args, read_mean(path, inputs.ncols())?)),
            (None, None) => Scaling::Nothing,
        };
        scaling.apply(&mut inputs);
        if let Some(references) = &mut references {
            scaling.apply(references);
        }
        let image = match found {
            RowShape::Image { channels, height, width } => Some([channels, height, width]),
            RowShape::Vector { .. } => None,
        };
        Ok(Self { records: inputs, references, members, names, image, scaling, notes })
    }

    /// What was read otherwise than it is written.
    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    /// How many there are.
    pub(super) fn sizes(&self) -> String {
        let (m, d) = self.records.dim();
        match &self.references {
            Some(references) => format!("{m} records of {d} values, {} references", references.nrows()),
            None => format!("{m} records of {d} values, no reference"),
        }
    }

    /// Some records in their own units, for display.
    pub(super) fn raw(&self, rows: &[usize]) -> Array2<f32> {
        self.scaling.restored(self.records.select(ndarray::Axis(0), rows).view())
    }
}

/// Rows (k, d) that stand as the network takes them, such as columns of its first weights, as [`Given`] has its own: channel by channel.
pub(super) fn in_order(args: &MembersArgs, rows: Array2<f32>) -> Array2<f32> {
    match args.input_shape {
        Some(InputShape { sides, channels: ChannelOrder::Last }) => columns_first(rows.view(), sides),
        _ => rows,
    }
}

/// What is wrong with a file of records is the caller's to correct.
fn misuse(error: DatasetError) -> anyhow::Error {
    match error {
        DatasetError::File { .. } => error.into(),
        error => Misuse(error.to_string()).into(),
    }
}
