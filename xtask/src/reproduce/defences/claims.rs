//! What is said of defences elsewhere, and what the rows say of it.

use super::row::Row;

/// What a defence is said to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Protects,
    Leaks,
}

/// A claim about a defence, by its name, against what is the same without it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) told: &'static str,
    pub(super) source: &'static str,
    defence: &'static str,
    effect: Effect,
}

/// What a pair of rows says of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Confirmed,
    InPart,
    Refuted,
    /// There is nothing to protect.
    Open,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::InPart => "in part",
            Self::Refuted => "refuted",
            Self::Open => "nothing leaks without",
        }
    }
}

/// The claims that are looked into.
pub(super) const CLAIMS: [Claim; 10] = [
    claim("an unknown shift protects", "Refael et al. (2025)", "shift", Effect::Protects),
    claim("longer training protects", "Refael et al. (2025)", "until-100", Effect::Protects),
    claim("weight decay leaks", "Buzaglo et al. (2023)", "decay-2e-3", Effect::Leaks),
    claim("early stopping protects", "common advice", "until-0.7", Effect::Protects),
    claim("more examples protect", "Haim et al. (2022)", "larger-5", Effect::Protects),
    claim("narrow layers protect", "Haim et al. (2022)", "narrow-50", Effect::Protects),
    claim("flips and shifts protect", "common advice", "flips-shifts", Effect::Protects),
    claim("dropout protects", "common advice", "dropout", Effect::Protects),
    claim("4-bit weights protect", "common advice", "bits-4", Effect::Protects),
    claim("DP-SGD of epsilon 16 protects", "Abadi et al. (2016)", "dp-16", Effect::Protects),
];

const fn claim(told: &'static str, source: &'static str, defence: &'static str, effect: Effect) -> Claim {
    Claim { told, source, defence, effect }
}

/// A claim looked into with one pair of rows.
pub(super) struct Looked<'a> {
    pub(super) claim: Claim,
    pub(super) without: &'a Row,
    pub(super) with: &'a Row,
}

impl Looked<'_> {
    /// By the images that are nearly exact.
    pub(super) fn by_images(&self) -> Verdict {
        self.claim.effect.verdict(100.0 * self.without.exact_share(), 100.0 * self.with.exact_share())
    }

    /// By the members that are told.
    pub(super) fn by_members(&self) -> Verdict {
        self.claim.effect.verdict(self.without.tpr_at_01, self.with.tpr_at_01)
    }
}

/// Per cent of the training set below which nothing leaks.
const NOTHING: f64 = 2.0;

impl Effect {
    /// By how much leaks, per cent of the training set.
    fn verdict(self, without: f64, with: f64) -> Verdict {
        match self {
            Self::Protects if without < NOTHING => Verdict::Open,
            Self::Protects if with <= 0.5 * without => Verdict::Confirmed,
            Self::Protects if with <= 0.8 * without => Verdict::InPart,
            Self::Leaks if without < NOTHING && with < NOTHING => Verdict::Open,
            Self::Leaks if with >= 1.25 * without + NOTHING => Verdict::Confirmed,
            Self::Leaks if with > without => Verdict::InPart,
            Self::Protects | Self::Leaks => Verdict::Refuted,
        }
    }
}

/// Every claim with every pair of rows that says something of it.
pub(super) fn looked_into(rows: &[Row]) -> Vec<Looked<'_>> {
    let mut found = Vec::new();
    for claim in CLAIMS {
        for with in rows.iter().filter(|row| row.defence == claim.defence && !row.cut) {
            let same = |row: &&Row| {
                row.defence == with.base && row.task == with.task && row.seed == with.seed && !row.cut
            };
            if let Some(without) = rows.iter().find(same) {
                found.push(Looked { claim, without, with });
            }
        }
    }
    found
}

/// The delta of all rows with differential privacy.
pub(super) const DELTA: f64 = 1e-3;

/// Per cent of the members that differential privacy lets be told at this rate of false ones.
pub(super) fn allowed(epsilon: f64, rate: f64) -> f64 {
    (100.0 * (epsilon.exp() * rate + DELTA)).min(100.0)
}

/// Rows with differential privacy that show images above their null, or more members than their epsilon allows, by three deviations: these are
/// explained, or something is wrong.
pub(super) fn above_their_null(rows: &[Row]) -> Vec<&Row> {
    let above = |row: &&Row| {
        let Some(epsilon) = row.epsilon else { return false };
        let bound = allowed(epsilon, 0.01);
        let deviation = (bound * (100.0 - bound) / row.n.max(1) as f64).sqrt();
        row.nearly_exact > 0
            || row.sure > 0
            || row.legible > row.legible_held_out
            || row.tpr_at_1 > bound + 3.0 * deviation
    };
    rows.iter().filter(above).collect()
}

#[cfg(test)]
mod tests {
    use super::super::listed;
    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn verdicts_are_those_of_the_rows() {
        let rows = [
            row("decay-2e-3", "none", 40, 90.0),
            row("shift", "decay-2e-3", 0, 88.0),
            row("none", "none", 0, 50.0),
        ];
        let looked = looked_into(&rows);
        let of = |told: &str| looked.iter().find(|looked| looked.claim.told.contains(told)).unwrap();
        let shift = of("unknown shift");
        assert_eq!((shift.by_images(), shift.by_members()), (Verdict::Confirmed, Verdict::Refuted));
        let decay = of("weight decay");
        assert_eq!((decay.by_images(), decay.by_members()), (Verdict::Confirmed, Verdict::Confirmed));
        assert_eq!(looked.len(), 2);
        assert_eq!(Effect::Protects.verdict(1.0, 0.0), Verdict::Open);
        assert_eq!(Effect::Protects.verdict(50.0, 35.0), Verdict::InPart);
        assert_eq!(Effect::Leaks.verdict(50.0, 40.0), Verdict::Refuted);
    }

    #[test]
    fn every_claim_is_about_a_defence_that_is_tried() {
        let names: Vec<&str> = listed::all().iter().map(|defence| defence.name).collect();
        assert!(CLAIMS.iter().all(|claim| names.contains(&claim.defence)));
    }

    #[test]
    fn private_rows_that_show_something_are_named() {
        let quiet = Row { epsilon: Some(4.0), ..row("dp-4", "adam", 0, 1.0) };
        let loud = Row { epsilon: Some(1.0), ..row("dp-1", "adam", 0, 20.0) };
        let rows = [quiet, loud, row("adam", "adam", 30, 90.0)];
        assert_eq!(
            above_their_null(&rows).iter().map(|row| row.defence.as_str()).collect::<Vec<_>>(),
            ["dp-1"]
        );
    }
}
