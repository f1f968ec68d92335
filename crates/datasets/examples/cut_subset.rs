//! Cuts the embedded samples out of the complete data sets, byte for byte the same each time once unpacked:
//!
//! ```text
//! cargo run -p palimpsest-datasets --example cut_subset -- INPUT_DIR OUTPUT_DIR
//! ```
//!
//! INPUT_DIR holds the four IDX files under their published names, plain or `.gz`. OUTPUT_DIR gets four `.gz` files
//! (level 9, no time, no name): the first 250 training images of odd and the first 250 of even class, in file order,
//! and the first 1,000 test images, each with labels. The checksums of the unpacked bytes are printed.
#![expect(clippy::print_stdout, reason = "a command tells what it wrote")]

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use ndarray::Axis;
use palimpsest_datasets::{Task, idx, source};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [input, output] = arguments.as_slice() else {
        return Err("usage: cut_subset INPUT_DIR OUTPUT_DIR".into());
    };
    cut(input, output)
}

fn cut(input: &Path, output: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(output)?;
    let task: Task = "odd-even".parse()?;
    for part in ["train", "t10k"] {
        let (image_file, label_file) =
            (format!("{part}-images-idx3-ubyte"), format!("{part}-labels-idx1-ubyte"));
        let images = idx::parse_images(&find(input, &image_file)?)?;
        let labels = idx::parse_labels(&find(input, &label_file)?)?;
        let rows = if part == "train" { task.balanced_rows(&labels, 500)? } else { (0..1000).collect() };
        let cut_labels: Vec<u8> = rows.iter().map(|&row| labels[row]).collect();
        write(output, &image_file, &idx::encode_images(images.select(Axis(0), &rows).view()))?;
        write(output, &label_file, &idx::encode_labels(&cut_labels))?;
    }
    Ok(())
}

fn find(dir: &Path, file: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let plain = dir.join(file);
    Ok(source::read(&if plain.exists() { plain } else { dir.join(format!("{file}.gz")) })?)
}

fn write(dir: &Path, file: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let path = dir.join(format!("{file}.gz"));
    let mut gzip = GzBuilder::new().mtime(0).write(File::create(&path)?, Compression::best());
    gzip.write_all(bytes)?;
    gzip.finish()?;
    println!("{}  {file}", source::sha256(bytes));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_cut_again_is_the_same_sample() {
        for name in ["fashion-mnist", "mnist"] {
            let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
            let output = tempfile::tempdir().unwrap();
            cut(&sample, output.path()).unwrap();
            for part in ["train", "t10k"] {
                for kind in ["images-idx3", "labels-idx1"] {
                    let file = format!("{part}-{kind}-ubyte");
                    let read = |folder: &Path| find(folder, &file).unwrap();
                    assert!(read(&sample) == read(output.path()), "{name}: {file}");
                }
            }
        }
    }
}
