//! Audits a file of weights, and writes the report beside it.
//!
//! `cargo run --release -p palimpsest --example audit -- net.pth`
#![expect(clippy::print_stdout, reason = "an example speaks to the person who runs it")]

use std::error::Error;
use std::path::PathBuf;

use palimpsest::{AuditOptions, audit};

fn main() -> Result<(), Box<dyn Error>> {
    let path = PathBuf::from(std::env::args().nth(1).ok_or("name a file of weights")?);
    let audit = audit(&path, &AuditOptions::default())?;
    println!("{}", audit.answer());
    let folder = path.with_extension("audit");
    std::fs::create_dir_all(&folder)?;
    audit.write(&folder)?;
    println!("report: {}", folder.join("report.html").display());
    Ok(())
}
