//! Cuts the embedded samples out of the complete data sets, byte for byte the same each time once unpacked:
//!
//! ```text
//! cargo run -p palimpsest-datasets --example cut_subset -- INPUT_DIR OUTPUT_DIR
//! ```
//!
//! INPUT_DIR holds the four IDX files under their published names, plain or `.gz`; of the training images at least the
//! first 10,000. OUTPUT_DIR gets six `.gz` files (level 9, no time, no name): the first 250 training images of odd and the
//! first 250 of even class of the blocks `dev` (`train-*`) and `report` (`report-*`), in file order, and the first 1,000
//! test images, each with labels. The checksums of the unpacked bytes are printed.
#![expect(clippy::print_stdout, reason = "a command tells what it wrote")]

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use ndarray::{Array3, Axis};
use palimpsest_datasets::{Block, DataName, Task, idx, source};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [input, output] = arguments.as_slice() else {
        return Err("usage: cut_subset INPUT_DIR OUTPUT_DIR".into());
    };
    cut(input, output)
}

fn cut(input: &Path, output: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(output)?;
    let (train, test) = (read(input, "train")?, read(input, "t10k")?);
    for (part, block) in [("train", Block::Dev), ("report", Block::Report)] {
        let positions = block.positions(DataName::Mnist).ok_or("MNIST has blocks")?;
        write_part(output, part, &train, &first_of_block(&train.1, positions)?)?;
    }
    write_part(output, "t10k", &test, &(0..1000).collect::<Vec<_>>())
}

/// Rows of the first 250 of odd and the first 250 of even class at some positions, in file order.
fn first_of_block(labels: &[u8], positions: Range<usize>) -> Result<Vec<usize>, Box<dyn Error>> {
    let start = positions.start;
    let of_block = labels.get(positions).ok_or("the training images end before the block `report` does")?;
    let rows = "odd-even".parse::<Task>()?.balanced_rows(of_block, 500)?;
    Ok(rows.into_iter().map(|row| start + row).collect())
}

/// Images and labels of one part.
type Examples = (Array3<u8>, Vec<u8>);

fn read(input: &Path, part: &str) -> Result<Examples, Box<dyn Error>> {
    let images = idx::parse_images(&find(input, &format!("{part}-images-idx3-ubyte"))?)?;
    Ok((images, idx::parse_labels(&find(input, &format!("{part}-labels-idx1-ubyte"))?)?))
}

fn write_part(
    output: &Path,
    part: &str,
    (images, labels): &Examples,
    rows: &[usize],
) -> Result<(), Box<dyn Error>> {
    let cut_labels: Vec<u8> = rows.iter().map(|&row| labels[row]).collect();
    let images = idx::encode_images(images.select(Axis(0), rows).view());
    write(output, &format!("{part}-images-idx3-ubyte"), &images)?;
    write(output, &format!("{part}-labels-idx1-ubyte"), &idx::encode_labels(&cut_labels))
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
    use ndarray::concatenate;

    use super::*;

    #[test]
    fn a_sample_cut_again_is_the_same_sample() {
        for name in ["fashion-mnist", "mnist"] {
            let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
            // A training set with the sample's images where its blocks are, and blank ones between.
            let (dev, report) =
                (super::read(&sample, "train").unwrap(), super::read(&sample, "report").unwrap());
            let blank = |n| Array3::<u8>::zeros((n, 28, 28));
            let parts = [dev.0, blank(4500), report.0, blank(4500)];
            let images = concatenate(Axis(0), &parts.each_ref().map(Array3::view)).unwrap();
            let labels = [&dev.1[..], &[0; 4500], &report.1, &[0; 4500]].concat();
            let (input, output) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let write = |file: &str, bytes: &[u8]| fs::write(input.path().join(file), bytes).unwrap();
            write("train-images-idx3-ubyte", &idx::encode_images(images.view()));
            write("train-labels-idx1-ubyte", &idx::encode_labels(&labels));
            for file in ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
                write(file, &find(&sample, file).unwrap());
            }
            cut(input.path(), output.path()).unwrap();
            for part in ["train", "report", "t10k"] {
                for kind in ["images-idx3", "labels-idx1"] {
                    let file = format!("{part}-{kind}-ubyte");
                    let read = |folder: &Path| find(folder, &file).unwrap();
                    assert!(read(&sample) == read(output.path()), "{name}: {file}");
                }
            }
        }
    }
}
