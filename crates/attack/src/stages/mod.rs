//! The stages of an attack, one a folder or file, and their order.

pub mod activation_patterns;
pub mod candidate;
pub mod context;
pub mod deflation;
pub mod params;
pub mod restarts;
pub mod saturation;
pub mod separated_starts;
pub mod separation_by_agreement;
pub mod stage;
pub(crate) mod starts;
pub mod why_not;

/// All stages, in the order in which they run.
pub fn all() -> Vec<Box<dyn stage::Stage>> {
    vec![
        Box::new(separated_starts::stage::SeparatedStarts),
        Box::new(separation_by_agreement::stage::SeparationByAgreement),
        Box::new(deflation::stage::DeflationRounds),
        Box::new(restarts::FirstRestarts),
        Box::new(activation_patterns::stage::ActivationPatterns),
        Box::new(restarts::RemainingRestarts),
    ]
}
