//! `palimpsest members`: which of given records a network was trained on.
//!
//! Records are declared prior knowledge of this command alone: nothing here calls an attack, and no attack sees them.

use anyhow::{Result, anyhow, bail};
use ndarray::Array2;
use palimpsest_attack::evidence::membership::{Membership, MembershipError, Outputs, Weights, assess};
use palimpsest_mlp::Mlp;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_report::render_members;
use palimpsest_runs::files;

use crate::attacking::input_shape::{check_size, to_channels_first};
use crate::attacking::model_file::{Model, load_model};
use crate::attacking::reconstruct::checked_threads;
use crate::members::{layer_weights, membership_bytes};
use crate::terminal::{Misuse, clock, lock_folder, memory, output, threads as workers};

mod args;
mod given;
mod page;
mod record;

pub use args::{MembersArgs, OutputKind};
use given::{Given, in_order};
pub use record::{MemberRecord, MembersFile};

/// What is looked into, read.
enum Read {
    Network(Mlp<f32>),
    Layer(Array2<f32>),
}

/// Carries out `palimpsest members`.
///
/// # Errors
/// Whatever keeps it from its end; [`Misuse`] for options and records that cannot work.
pub fn run(args: &MembersArgs) -> Result<()> {
    let threads = checked_threads(args.threads)?;
    if let Some(prior) = args.prior
        && !(prior > 0.0 && prior < 1.0)
    {
        bail!(Misuse(format!("--prior must be above 0 and below 1, got {prior}")));
    }
    let _lock = lock_folder(&args.out)?;
    let model =
        if args.layer.is_none() { Some(load_model(&args.model, args.chain.as_deref())?) } else { None };
    let stored_shape = model.as_ref().and_then(|model| model.provenance.as_ref()?.image_shape);
    let given = Given::read(args, stored_shape)?;
    let (read, looked_into) = weights(args, model, &given)?;
    require_memory(&read, &given)?;
    for note in given.notes() {
        output::note(&note);
    }
    output::note(&format!("{looked_into}; {}", given.sizes()));
    let start = clock::now();
    let weights = match &read {
        Read::Network(network) => Weights::Network(
            network,
            match args.outputs {
                OutputKind::Classes => Outputs::Classes,
                OutputKind::Values => Outputs::Values,
            },
        ),
        Read::Layer(layer) => Weights::Layer(layer.view()),
    };
    let references = given.references.as_ref().map(|references| references.view());
    let parallelism = Parallelism::of_threads(threads);
    let found = workers::pool(threads)?
        .install(|| assess(weights, given.records.view(), references, parallelism))
        .map_err(explained)?;
    let elapsed_s = clock::now().saturating_sub(start).as_secs_f64();
    finish(args, &given, &found, looked_into, (threads, elapsed_s))
}

fn weights(args: &MembersArgs, model: Option<Model>, given: &Given) -> Result<(Read, String)> {
    let path = args.model.display();
    if let Some(mut model) = model {
        for note in &model.notes {
            output::note(note);
        }
        if let Some(shape) = args.input_shape {
            check_size(shape, model.network.inputs())?;
            to_channels_first(&mut model.network, shape);
        }
        let dims: Vec<String> = model.network.dims().iter().map(usize::to_string).collect();
        return Ok((Read::Network(model.network), format!("{path}: dense layers {}", dims.join("-"))));
    }
    let name = args.layer.as_deref().expect("without a layer the network was read");
    let (name, weight) = layer_weights(&args.model, name, given.records.ncols(), "--layer or the records")?;
    let looked_into =
        format!("{path}: {name}, {} neurons that see {} values", weight.nrows(), weight.ncols());
    Ok((Read::Layer(in_order(args, weight)), looked_into))
}

fn require_memory(read: &Read, given: &Given) -> Result<()> {
    let layer = match read {
        Read::Network(network) => network.layers()[0].weight.dim(),
        Read::Layer(layer) => layer.dim(),
    };
    let references = given.references.as_ref().map(|references| references.nrows());
    let needed = membership_bytes(layer, given.records.nrows(), references);
    memory::require("members", needed, "give fewer references or records")
}

/// What a person can correct is a misuse.
fn explained(error: MembershipError) -> anyhow::Error {
    let advice = match &error {
        MembershipError::Width { .. } => "; correct --records, --reference or --layer",
        MembershipError::FewReferences { .. } => "; give more, or leave out --reference to rank records only",
        MembershipError::FewRecords { .. } => "; give a --reference",
        _ => "",
    };
    match error {
        MembershipError::Factor(error) => {
            anyhow!(error).context("the weights or records cannot be decomposed")
        }
        error => anyhow!(Misuse(format!("{error}{advice}"))),
    }
}

fn finish(
    args: &MembersArgs,
    given: &Given,
    found: &Membership,
    looked_into: String,
    (threads, elapsed_s): (usize, f64),
) -> Result<()> {
    let file = MembersFile::of(args, given, found, looked_into, (threads, elapsed_s));
    for warning in &file.warnings {
        output::note(&format!("mind: {warning}"));
    }
    let page = page::page(given, &file)?;
    files::write_whole(&args.out.join("members.csv"), file.csv().as_bytes())?;
    files::write_json(&args.out.join("members.json"), &file)?;
    files::write_whole(&args.out.join("members.html"), render_members(&page)?.as_bytes())?;
    let html = output::absolute(&args.out.join("members.html"));
    for sentence in &file.sentences {
        output::line(sentence);
    }
    output::line(&format!("page: {}", html.display()));
    output::event(
        "result",
        &serde_json::json!({
            "command": "members",
            "out": output::absolute(&args.out),
            "records": file.records.len(),
            "below_one_in_a_thousand": file.below_one_in_a_thousand,
            "called_members": file.called_members,
            "sentences": file.sentences.join(" "),
            "page": html,
            "elapsed_s": elapsed_s,
        }),
    );
    Ok(())
}
