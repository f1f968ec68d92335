//! A run that is cut off after each step, and goes on from where it was.
//!
//! `cargo run -p palimpsest-runs --example resume -- target/resume`
#![expect(clippy::print_stdout, reason = "an example speaks to the person who runs it")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use palimpsest_runs::{Host, Resume, Snapshots, lock_folder};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "target/resume".into()));
    let host = Host { now: || Duration::ZERO, tell: |sentence| println!("({sentence})") };
    let options = serde_json::json!({ "seed": 7 });
    for _ in 0..3 {
        let _lock = lock_folder(&folder, "this example", host)?;
        let (mut snapshots, state) =
            Snapshots::open::<u32>(&folder, Resume::FromSnapshot, Duration::ZERO, &options, host)?;
        let step = state.unwrap_or(0) + 1;
        println!("step {step}");
        snapshots.write(&step);
        if step == 3 {
            snapshots.remove();
        }
    }
    Ok(())
}
