//! The page about whose data a network holds.

use anyhow::Result;
use palimpsest_numerics::display::min_max;
use palimpsest_report::{Bar, MemberRow, MembersPage, Picture, PictureShape, Roc, Setting};

use super::given::Given;
use super::record::MembersFile;

/// Records shown.
const SHOWN: usize = 20;
/// Bars of the histogram.
const BARS: usize = 30;
/// Decimal digits of a p-value from which on the histogram makes no difference.
const MOST_DIGITS: f64 = 15.0;
/// False positive rates at which the share of members is told.
const RATES: [f64; 3] = [0.001, 0.01, 0.1];

pub(super) fn page(given: &Given, file: &MembersFile) -> Result<MembersPage> {
    let shown: Vec<usize> = file.ranking.iter().copied().take(SHOWN).collect();
    let pictures = pictures(given, &shown)?;
    let rows = shown.iter().zip(pictures).map(|(&record, picture)| {
        let found = &file.records[record];
        MemberRow {
            record,
            name: found.name.clone(),
            picture,
            p_value: found.p_value,
            probability: found.probability,
            span_share: found.evidence.span_share,
            span_score: found.evidence.span_score,
            gradient_score: found.evidence.gradient_score,
            multiplier: found.evidence.multiplier,
            member: found.member,
        }
    });
    let (histogram, histogram_of) = histogram(file);
    Ok(MembersPage {
        title: "Whose data these weights hold".into(),
        subject: format!("{}; {}", file.looked_into, given.sizes()),
        answer: file.sentences.clone(),
        warnings: file.warnings.clone(),
        histogram,
        histogram_of,
        roc: roc(file),
        rows: rows.collect(),
        notes: notes(file),
        settings: settings(file),
    })
}

/// The records as pictures, where they are pictures that can be shown.
fn pictures(given: &Given, shown: &[usize]) -> Result<Vec<Option<Picture>>> {
    let Some([channels, height, width]) = given.image else { return Ok(vec![None; shown.len()]) };
    let shape = PictureShape { channels, height, width };
    let drawable = matches!(channels, 1 | 3) && [height, width].iter().all(|side| (1..=256).contains(side));
    if !drawable {
        return Ok(vec![None; shown.len()]);
    }
    let rows = min_max(given.raw(shown).view());
    rows.rows().into_iter().map(|row| Ok(Some(Picture::new(shape, row.iter().copied())?))).collect()
}

/// Decimal digits of p-values, beside what chance gives; without p-values, scores.
fn histogram(file: &MembersFile) -> (Vec<Bar>, String) {
    let with_p = file.references.is_some();
    let values: Vec<f64> = file
        .records
        .iter()
        .map(|record| record.log10_p.map_or(record.evidence.score, |log| (-log).min(MOST_DIGITS)))
        .collect();
    let most = values.iter().copied().fold(if with_p { 3.0 } else { 0.1 }, f64::max);
    let width = most / BARS as f64;
    let mut bars: Vec<Bar> = (0..BARS)
        .map(|i| {
            let range = [i as f64 * width, (i + 1) as f64 * width];
            let expected =
                with_p.then(|| values.len() as f64 * (10_f64.powf(-range[0]) - 10_f64.powf(-range[1])));
            Bar { range, count: 0, expected }
        })
        .collect();
    for value in values {
        let bar = ((value / width).max(0.0) as usize).min(BARS - 1);
        bars[bar].count += 1;
    }
    let of = if with_p { "zeros of the p-value: 3 is 0.001" } else { "score, without units" };
    (bars, of.into())
}

/// The curve where there are members and others; ties are called together.
fn roc(file: &MembersFile) -> Option<Roc> {
    let truth: Vec<(f64, bool)> = file
        .ranking
        .iter()
        .map(|&i| Some((file.records[i].evidence.score, file.records[i].member?)))
        .collect::<Option<_>>()?;
    let members = truth.iter().filter(|(_, member)| *member).count();
    let others = truth.len() - members;
    if members == 0 || others == 0 {
        return None;
    }
    let (mut points, mut found, mut alarms) = (vec![[0.0, 0.0]], 0, 0);
    for (i, &(score, member)) in truth.iter().enumerate() {
        if member {
            found += 1
        } else {
            alarms += 1
        }
        if truth.get(i + 1).is_none_or(|next| next.0 < score) {
            points.push([alarms as f64 / others as f64, found as f64 / members as f64]);
        }
    }
    let at = RATES.iter().map(|&rate| {
        let found = points.iter().filter(|point| point[0] <= rate).map(|point| point[1]).fold(0.0, f64::max);
        [rate, found]
    });
    Some(Roc { at: at.collect(), points: points.clone(), counted: [members, others] })
}

fn notes(file: &MembersFile) -> Vec<String> {
    let mut notes = vec![
        "Outside the span is the share of a record's square that the directions which training has written into the layer do not hold; \
         the score beside it compares that share, in the metric of the reference, with what is usual for a record as rough as this one."
            .into(),
    ];
    if file.references.is_some() {
        notes.push(
            "A p-value is the probability that a record of the reference's kind that was not trained on shows as much. Below one in the \
             number of references it is extrapolated. It says nothing about records of another kind."
                .into(),
        );
        notes.push(
            "A record that nearly repeats a training record counts as one: the weights do not tell the two apart.".into(),
        );
    } else {
        notes.push(
            "Without a reference the records were compared with each other. The order can be trusted where most of them are not members; how \
             many are cannot be said."
                .into(),
        );
    }
    match file.prior {
        Some(prior) => notes.push(format!(
            "The probability combines the p-value with the prior {prior} that was given; it is only as good as that."
        )),
        None => notes.push("There is no probability of membership without a --prior.".into()),
    }
    notes.push("A record without a trace may still have been trained on: that nothing is found is no proof of absence.".into());
    notes
}

fn settings(file: &MembersFile) -> Vec<Setting> {
    let mut settings = vec![
        Setting::new("weights", file.model.display()),
        Setting::new("records", file.records_file.display()),
    ];
    if let (Some(path), Some(used)) = (&file.reference_file, file.references) {
        settings.push(Setting::new("reference", format!("{}, {used} used", path.display())));
    }
    settings.extend([
        Setting::new("directions that training has written", file.rank),
        Setting::new("largest singular value below them, of the largest", format!("{:.2e}", file.floor)),
        Setting::new("seconds", format!("{:.1}", file.elapsed_s)),
        Setting::new("made by", &file.made_by),
    ]);
    settings
}
