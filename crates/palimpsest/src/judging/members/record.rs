//! What is written of each record, and what is said of all.

use std::path::PathBuf;

use palimpsest_attack::evidence::membership::{
    Compared, Membership, RecordEvidence, discoveries, member_probability,
};
use palimpsest_runs::MADE_BY;
use serde::Serialize;

use super::args::MembersArgs;
use super::given::Given;
use crate::terminal::output;

/// Rate of false ones among the records that are called members, at most.
const FALSE_DISCOVERIES: f64 = 0.05;
/// Deviations in size or roughness from which on a record is unlike the references.
const STRANGE: f64 = 6.0;
/// Share of unlike records that is worth a warning.
const MANY_STRANGE: f64 = 0.05;

/// The record of the command, `members.json`.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct MembersFile {
    /// The program that wrote it.
    pub made_by: String,
    /// Always `members`.
    pub command: &'static str,
    /// The file of weights, by absolute path.
    pub model: PathBuf,
    /// What was looked into, in words.
    pub looked_into: String,
    /// The records, by absolute path.
    pub records_file: PathBuf,
    /// The references, by absolute path.
    pub reference_file: Option<PathBuf>,
    /// References that were used, without those among the records.
    pub references: Option<usize>,
    /// Directions of the layer that stand out of what its start has left.
    pub rank: usize,
    /// Largest singular value that does not, as a share of the largest.
    pub floor: f64,
    /// Prior probability of being a member, if one was given.
    pub prior: Option<f64>,
    /// Records with a p-value below 0.001; chance gives a thousandth of all.
    pub below_one_in_a_thousand: Option<usize>,
    /// Records that can be called members with at most 5 % false ones.
    pub called_members: Option<usize>,
    /// The answer, in words.
    pub sentences: Vec<String>,
    /// What keeps the numbers from being taken at their word.
    pub warnings: Vec<String>,
    /// What speaks for each record, in the order given.
    pub records: Vec<MemberRecord>,
    /// Rows of the records, the most exposed first.
    pub ranking: Vec<usize>,
    /// Threads it ran on; they change no bit.
    pub threads: usize,
    /// Seconds it took after the files were read.
    pub elapsed_s: f64,
}

/// What speaks for one record.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MemberRecord {
    /// Its row, from 0.
    pub record: usize,
    /// Name of its file, if it has one.
    pub name: Option<String>,
    /// Place among all records, from 1, the most exposed first.
    pub rank: usize,
    /// Probability that a record like the references that was not trained on shows as much.
    pub p_value: Option<f64>,
    /// Its decimal logarithm, which does not underflow.
    pub log10_p: Option<f64>,
    /// Probability of being a member, where a prior was given.
    pub probability: Option<f64>,
    /// What speaks for it, by the attack.
    #[serde(flatten)]
    pub evidence: RecordEvidence,
    /// Whether it is a member, where the truth was given.
    pub member: Option<bool>,
}

impl MembersFile {
    pub(super) fn of(
        args: &MembersArgs,
        given: &Given,
        found: &Membership,
        looked_into: String,
        (threads, elapsed_s): (usize, f64),
    ) -> Self {
        let mut ranking: Vec<usize> = (0..found.records.len()).collect();
        ranking.sort_by(|&a, &b| found.records[b].score.total_cmp(&found.records[a].score));
        let mut ranks = vec![0; ranking.len()];
        for (rank, &record) in ranking.iter().enumerate() {
            ranks[record] = rank + 1;
        }
        let records: Vec<MemberRecord> = found
            .records
            .iter()
            .enumerate()
            .map(|(i, evidence)| MemberRecord {
                record: i,
                name: given.names.as_ref().map(|names| names[i].clone()),
                rank: ranks[i],
                p_value: evidence.log_p.map(f64::exp),
                log10_p: evidence.log_p.map(|log| log / std::f64::consts::LN_10),
                probability: evidence
                    .log_p
                    .zip(args.prior)
                    .map(|(log, prior)| member_probability(log, prior)),
                evidence: *evidence,
                member: given.members.as_ref().map(|members| members[i]),
            })
            .collect();
        let p_values: Option<Vec<f64>> = records.iter().map(|record| record.p_value).collect();
        let mut file = Self {
            made_by: MADE_BY.into(),
            command: "members",
            model: output::absolute(&args.model),
            looked_into,
            records_file: output::absolute(&args.records),
            reference_file: args.reference.as_ref().map(|path| output::absolute(path)),
            references: match found.compared {
                Compared::References { used } => Some(used),
                Compared::Themselves => None,
            },
            rank: found.rank,
            floor: found.floor,
            prior: args.prior,
            below_one_in_a_thousand: p_values.as_ref().map(|ps| ps.iter().filter(|&&p| p < 1e-3).count()),
            called_members: p_values.as_ref().map(|ps| discoveries(ps, FALSE_DISCOVERIES)),
            sentences: Vec::new(),
            warnings: Vec::new(),
            records,
            ranking,
            threads,
            elapsed_s,
        };
        file.sentences = file.sentences();
        file.warnings = file.warnings();
        file
    }

    fn sentences(&self) -> Vec<String> {
        let m = self.records.len();
        let took = format!("It took {:.1} s.", self.elapsed_s);
        let (Some(called), Some(below)) = (self.called_members, self.below_one_in_a_thousand) else {
            return vec![
                format!("{m} records are ranked, and nothing more can be said without a reference."),
                "A p-value needs records of the same kind that were surely not trained on, at least 200: --reference.".into(),
                took,
            ];
        };
        let chance = m as f64 / 1000.0;
        let first = if called == 0 {
            format!("None of {m} records can be called a member.")
        } else {
            format!(
                "{called} of {m} records can be called members, with at most {:.0} % of these wrong.",
                100.0 * FALSE_DISCOVERIES
            )
        };
        vec![
            first,
            format!("{below} have a p-value below 0.001, where chance alone gives {chance:.1}."),
            took,
        ]
    }

    fn warnings(&self) -> Vec<String> {
        let m = self.records.len();
        let mut warnings = Vec::new();
        let same = self.records.iter().filter(|record| record.evidence.same_reference.is_some()).count();
        if same > 0 {
            warnings.push(format!(
                "{same} of {m} records are also in the reference. They were left out of it; a reference must hold nothing that may have \
                 been trained on"
            ));
        }
        let strange = self.records.iter().filter(|record| record.evidence.strangeness > STRANGE).count();
        if self.references.is_some() && strange as f64 > MANY_STRANGE * m as f64 {
            warnings.push(format!(
                "{strange} of {m} records differ from the reference in size or roughness by more than {STRANGE} deviations: they may have \
                 another range (0 to 255 instead of 0 to 1, a mean not removed), another order of channels or pixels, or be of another \
                 kind. Their p-values do not hold"
            ));
        }
        if self.references.is_some_and(|references| references < 500) {
            warnings.push(format!(
                "{} references tell p-values below {:.3} by extrapolation only; a thousand are better",
                self.references.unwrap_or(0),
                10.0 / self.references.unwrap_or(1).max(1) as f64
            ));
        }
        warnings
    }

    /// One line a record, `members.csv`.
    pub(super) fn csv(&self) -> String {
        let mut text = String::from(
            "record,name,rank,p_value,log10_p,probability,score,span_share,span_score,gradient_score,multiplier,own_loss,margin,\
             strangeness,same_reference,member\n",
        );
        for r in &self.records {
            let evidence = &r.evidence;
            let fields = [
                r.record.to_string(),
                r.name.as_deref().map(quoted).unwrap_or_default(),
                r.rank.to_string(),
                number(r.p_value),
                number(r.log10_p),
                number(r.probability),
                number(Some(evidence.score)),
                number(Some(evidence.span_share)),
                number(Some(evidence.span_score)),
                number(evidence.gradient_score),
                number(evidence.multiplier),
                number(evidence.own_loss),
                number(evidence.margin),
                number(Some(evidence.strangeness)),
                evidence.same_reference.map(|row| row.to_string()).unwrap_or_default(),
                r.member.map(|member| u8::from(member).to_string()).unwrap_or_default(),
            ];
            text.push_str(&fields.join(","));
            text.push('\n');
        }
        text
    }
}

/// A number with six digits, or nothing.
fn number(value: Option<f64>) -> String {
    value.map(|value| format!("{value:.6e}")).unwrap_or_default()
}

/// A field of text as RFC 4180 writes it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
