//! `palimpsest compare`: two audits, one beside the other, without training data.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use ndarray::{Array2, Axis};
use palimpsest_metrics::ImageShape;
use palimpsest_numerics::display::min_max;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_report::{
    ComparePage, CompareRow, Fate, InputKind, Kept, Picture, PictureGroup, PictureShape, render_compare,
};
use palimpsest_runs::{MADE_BY, files};
use serde::Serialize;

use self::audited::Audited;
use self::same::{Bar, Same, same};
use self::told::{notes, rows, warnings};
use crate::attacking::pages::picture;
use crate::terminal::{Misuse, output};

mod audited;
mod same;
mod told;

/// Compare two audits: what an attack finds after a change of the network, and what is gone.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  palimpsest compare runs/before runs/after
  palimpsest compare runs/before runs/after --out reports/compare.html

Both folders are those of `audit`, with the same options but for the network. Training data are not needed. Writes the page and, beside
it, the same as JSON.")]
pub struct CompareArgs {
    /// Folder of the audit before the change.
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,
    /// Folder of the audit after it.
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,
    /// The page; the same as JSON goes beside it.
    #[arg(long, value_name = "FILE", default_value = "compare.html")]
    pub out: PathBuf,
}

/// Inputs of each list that are compared; what comes later is chance.
const COMPARED: usize = 5000;
/// Inputs of a group that the page shows.
const SHOWN: usize = 48;

/// The record of the command, beside the page.
#[derive(Debug, Serialize)]
struct CompareFile {
    schema: u32,
    made_by: &'static str,
    /// The audits, by absolute path.
    before: PathBuf,
    after: PathBuf,
    /// Inputs of which the attack is sure, before and after.
    sure: [usize; 2],
    /// NCC, without its sign, above which two are the same.
    ncc_bar: f64,
    /// Sure inputs that resemble another one of their own list more than that, and how many were compared.
    alike_by_chance: [usize; 2],
    still_sure: usize,
    weaker: usize,
    gone: usize,
    stronger: usize,
    new: usize,
    answer: Vec<String>,
    warnings: Vec<String>,
    rows: Vec<CompareRow>,
    inputs: Vec<FateOf>,
}

/// What became of one input.
#[derive(Debug, Serialize)]
struct FateOf {
    fate: Fate,
    #[serde(flatten)]
    kept: Kept,
}

/// Carries out `palimpsest compare`.
///
/// # Errors
/// [`Misuse`] for folders that are no audits or cannot be compared; files that cannot be read or do not fit together.
pub fn run(args: &CompareArgs) -> Result<()> {
    let json = json_beside(&args.out)?;
    if output::absolute(&args.before) == output::absolute(&args.after) {
        bail!(Misuse("BEFORE and AFTER are the same folder; name two audits".into()));
    }
    let (before, after) = (Audited::read(&args.before)?, Audited::read(&args.after)?);
    let shape = shape(&before, &after)?;
    let compared = Compared::of(&before, &after, shape)?;
    let page = compared.page(&before, &after)?;
    files::write_whole(&args.out, render_compare(&page)?.as_bytes())?;
    files::write_json(&json, &compared.file(&before, &after, &page))?;
    page.answer.iter().for_each(|sentence| output::line(sentence));
    page.warnings.iter().for_each(|warning| output::note(&format!("warning: {warning}")));
    output::line(&format!("wrote {}", output::absolute(&args.out).display()));
    let count = |fate| compared.count(fate);
    output::event(
        "result",
        &serde_json::json!({
            "command": "compare", "sure": [before.called(), after.called()], "still_sure": count(Fate::Sure), "weaker": count(Fate::Weaker),
            "gone": count(Fate::Gone), "stronger": count(Fate::Stronger), "new": count(Fate::New),
            "report": output::absolute(&args.out),
        }),
    );
    Ok(())
}

/// Where the JSON goes, and that both can be written, before any work.
fn json_beside(out: &Path) -> Result<PathBuf> {
    let folder = match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        bail!(Misuse(format!("--out {} is in a folder that is not there; make it first", out.display())));
    }
    let json = out.with_extension("json");
    if out.file_name().is_none() || out.is_dir() || json == out {
        bail!(Misuse(format!("--out must name a page such as compare.html, got {}", out.display())));
    }
    Ok(json)
}

/// The shape in which inputs of both are compared.
fn shape(before: &Audited, after: &Audited) -> Result<ImageShape> {
    let (d, other) = (before.inputs.ncols(), after.inputs.ncols());
    if d != other || before.run.input_shape != after.run.input_shape {
        bail!(Misuse(format!(
            "the audits are of different inputs: {} before, {} after; compare audits with the same --input-shape",
            told(before),
            told(after)
        )));
    }
    Ok(match before.run.input_shape {
        Some([channels, height, width]) => ImageShape { channels, height, width },
        None => ImageShape::vector(d),
    })
}

fn told(audited: &Audited) -> String {
    match audited.run.input_shape {
        Some([channels, height, width]) => format!("pictures {channels}x{height}x{width}"),
        None => format!("rows of {} values", audited.inputs.ncols()),
    }
}

/// What became of an input: its place in the list before and after, and the NCC between the two.
type Became = (Fate, Option<usize>, Option<usize>, Option<f64>);

/// What became of every input of which the attack was or is sure.
struct Compared {
    bar: Bar,
    kept: Vec<Became>,
}

impl Compared {
    fn of(before: &Audited, after: &Audited, shape: ImageShape) -> Result<Self> {
        let parallelism = Parallelism::of_threads(rayon::current_num_threads());
        let first = |audited: &Audited| {
            let rows = audited.inputs.nrows().min(COMPARED);
            audited.inputs.view().split_at(Axis(0), rows).0.to_owned()
        };
        let (inputs_before, inputs_after) = (first(before), first(after));
        let sure = |audited: &Audited, inputs: &Array2<f32>| {
            let rows: Vec<usize> = (0..inputs.nrows()).filter(|&i| audited.sure[i]).collect();
            inputs.select(Axis(0), &rows)
        };
        let lists = [sure(before, &inputs_before), sure(after, &inputs_after)];
        let bar = Bar::of(&[lists[0].view(), lists[1].view()], shape, parallelism)?;
        let pairs = same(inputs_before.view(), inputs_after.view(), bar.ncc, shape, parallelism)?;
        Ok(Self { bar, kept: fates(&before.sure, &after.sure, &pairs) })
    }

    fn count(&self, fate: Fate) -> usize {
        self.kept.iter().filter(|(of, ..)| *of == fate).count()
    }

    /// The inputs of one fate, the first of them with pictures.
    fn group(&self, fate: Fate, before: &Audited, after: &Audited, pictures: usize) -> Result<Vec<Kept>> {
        let of_fate = self.kept.iter().filter(|(of, ..)| *of == fate).enumerate();
        of_fate
            .map(|(place, &(_, i, j, ncc))| {
                let shown = |audited: &Audited, i: Option<usize>| -> Result<Option<Picture>> {
                    i.filter(|_| place < pictures).map_or(Ok(None), |i| drawn(audited, i))
                };
                Ok(Kept {
                    before_rank: i.map(|i| i + 1),
                    after_rank: j.map(|j| j + 1),
                    before_confidence: i.map(|i| f64::from(before.confidence[i])),
                    after_confidence: j.map(|j| f64::from(after.confidence[j])),
                    ncc,
                    before: shown(before, i)?,
                    after: shown(after, j)?,
                })
            })
            .collect()
    }

    fn page(&self, before: &Audited, after: &Audited) -> Result<ComparePage> {
        let mut groups = Vec::new();
        for (fate, title, sentence) in GROUPS {
            let count = self.count(fate);
            let mut kept = self.group(fate, before, after, SHOWN)?;
            kept.truncate(SHOWN);
            let sentence = if count > SHOWN {
                format!("{sentence} The first {SHOWN} of {count}.")
            } else {
                sentence.into()
            };
            groups.push(PictureGroup { fate, title: format!("{title}: {count}"), sentence, count, kept });
        }
        let name = |audited: &Audited| {
            audited.run.model.file_name().unwrap_or_default().to_string_lossy().into_owned()
        };
        Ok(ComparePage {
            title: "What these weights may remember, before and after".into(),
            subject: format!("{} before, {} after", name(before), name(after)),
            answer: self.answer(before, after),
            warnings: warnings(before, after),
            rows: rows(before, after),
            groups,
            notes: notes(),
        })
    }

    fn answer(&self, before: &Audited, after: &Audited) -> Vec<String> {
        let inputs = match before.report.answer.inputs() {
            InputKind::Image => "images",
            InputKind::Row => "rows",
        };
        let first = match before.called() {
            0 => format!(
                "Before, the attack was sure of none of the {inputs} that it found: nothing can be gone."
            ),
            sure => format!(
                "Of the {sure} {inputs} that the attack was sure of before, {} are still sure, {} only listed, and {} gone.",
                self.count(Fate::Sure),
                self.count(Fate::Weaker),
                self.count(Fate::Gone)
            ),
        };
        let second = format!(
            "After, it is sure of {}: {} as before, {} only listed before, and {} new.",
            after.called(),
            self.count(Fate::Sure),
            self.count(Fate::Stronger),
            self.count(Fate::New)
        );
        let Bar { ncc, alike, of } = self.bar;
        let third = if of == 0 {
            format!(
                "Two are the same when their NCC is above {ncc:.2}; too few are sure to say what chance gives."
            )
        } else {
            format!(
                "Two are the same when their NCC is above {ncc:.2}. As a null, {alike} of {of} sure {inputs} resemble another one of their own \
                 list as much."
            )
        };
        vec![first, second, third]
    }

    fn file(&self, before: &Audited, after: &Audited, page: &ComparePage) -> CompareFile {
        let inputs = GROUPS.iter().flat_map(|&(fate, ..)| {
            // Without pictures nothing can fail.
            let kept = self.group(fate, before, after, 0).unwrap_or_default();
            kept.into_iter().map(move |kept| FateOf { fate, kept })
        });
        CompareFile {
            schema: 1,
            made_by: MADE_BY,
            before: before.folder.clone(),
            after: after.folder.clone(),
            sure: [before.called(), after.called()],
            ncc_bar: self.bar.ncc,
            alike_by_chance: [self.bar.alike, self.bar.of],
            still_sure: self.count(Fate::Sure),
            weaker: self.count(Fate::Weaker),
            gone: self.count(Fate::Gone),
            stronger: self.count(Fate::Stronger),
            new: self.count(Fate::New),
            answer: page.answer.clone(),
            warnings: page.warnings.clone(),
            rows: page.rows.clone(),
            inputs: inputs.collect(),
        }
    }
}

/// Fates in the order of the page, with their headings.
const GROUPS: [(Fate, &str, &str); 5] = [
    (Fate::Gone, "Gone", "The attack was sure of these before; after, nothing in its list resembles them."),
    (
        Fate::Weaker,
        "No longer sure",
        "Sure before; after, still listed. The upper of each pair is the one before.",
    ),
    (Fate::Sure, "Still sure", "In both. The upper of each pair is the one before."),
    (Fate::Stronger, "Now sure", "Listed before, sure after. The upper of each pair is the one before."),
    (Fate::New, "New", "Sure after; nothing in the list before resembles them."),
];

/// What became of each input that is sure in one of the lists, by places: those before first, in their order.
fn fates(sure_before: &[bool], sure_after: &[bool], pairs: &[Same]) -> Vec<Became> {
    let after_of = |i: usize| pairs.iter().find(|pair| pair.before == i);
    let before_of = |j: usize| pairs.iter().find(|pair| pair.after == j);
    let mut fates = Vec::new();
    for i in (0..sure_before.len()).filter(|&i| sure_before[i]) {
        fates.push(match after_of(i) {
            Some(pair) => {
                let fate = if sure_after[pair.after] { Fate::Sure } else { Fate::Weaker };
                (fate, Some(i), Some(pair.after), Some(pair.ncc))
            }
            None => (Fate::Gone, Some(i), None, None),
        });
    }
    for j in (0..sure_after.len()).filter(|&j| sure_after[j]) {
        match before_of(j) {
            Some(pair) if sure_before[pair.before] => {}
            Some(pair) => fates.push((Fate::Stronger, Some(pair.before), Some(j), Some(pair.ncc))),
            None => fates.push((Fate::New, None, Some(j), None)),
        }
    }
    fates
}

/// An input as a picture, if it is one.
fn drawn(audited: &Audited, place: usize) -> Result<Option<Picture>> {
    let Some([channels, height, width]) = audited.run.input_shape else { return Ok(None) };
    let row = audited.inputs.row(place).insert_axis(Axis(0)).to_owned();
    let shown = min_max(audited.mean.restore(&row).view());
    picture(shown.row(0), PictureShape { channels, height, width }).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sure_input_has_one_fate() {
        let pairs = [
            Same { before: 0, after: 1, ncc: 0.9 },
            Same { before: 1, after: 2, ncc: -0.8 },
            Same { before: 3, after: 0, ncc: 0.95 },
        ];
        let found = fates(&[true, true, true, false], &[true, true, false, true, false], &pairs);
        let told: Vec<_> = found.iter().map(|&(fate, i, j, _)| (fate, i, j)).collect();
        assert_eq!(
            told,
            [
                (Fate::Sure, Some(0), Some(1)),
                (Fate::Weaker, Some(1), Some(2)),
                (Fate::Gone, Some(2), None),
                (Fate::Stronger, Some(3), Some(0)),
                (Fate::New, None, Some(3)),
            ]
        );
        assert_eq!(found[1].3, Some(-0.8));
    }

    #[test]
    fn the_page_and_its_json_do_not_take_each_others_place() {
        let folder = tempfile::tempdir().unwrap();
        let ask = |name: &str| json_beside(&folder.path().join(name)).map_err(|error| error.to_string());
        assert_eq!(ask("two.html").unwrap(), folder.path().join("two.json"));
        assert!(ask("two.json").unwrap_err().contains("must name a page"));
        assert!(ask("none/two.html").unwrap_err().contains("make it first"));
        assert_eq!(json_beside(Path::new("x.html")).unwrap(), Path::new("x.json"));
    }
}
