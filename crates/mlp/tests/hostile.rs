//! What a hostile file may cost: a second and 200 MB, whatever it announces.
//!
//! One test in a program of its own, because the system tells the largest memory of a whole process only.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use flate2::{Compression, Crc, write::DeflateEncoder};
    use ndarray_rand::rand::Rng;
    use palimpsest_mlp::Checkpoint;
    use palimpsest_mlp::import::read_network;
    use palimpsest_numerics::seed::Seed;
    use rayon::prelude::*;

    const LONGEST: Duration = Duration::from_secs(1);
    const MOST_MEGABYTES: u64 = 200;
    const MUTATIONS: usize = 10_000;

    /// An archive of one deflated member of `zeros` zeros that announces `size`.
    fn bomb(name: &str, zeros: usize, size: u32) -> Vec<u8> {
        let (mut packer, mut sum) = (DeflateEncoder::new(Vec::new(), Compression::best()), Crc::new());
        let block = [0; 1 << 16];
        for _ in 0..zeros / block.len() {
            packer.write_all(&block).unwrap();
            sum.update(&block);
        }
        let content = packer.finish().unwrap();
        let common = [
            &[0, 0, 8, 0, 0, 0, 0, 0][..],
            &sum.sum().to_le_bytes(),
            &(content.len() as u32).to_le_bytes(),
            &size.to_le_bytes(),
            &[name.len() as u8, 0, 0, 0],
        ]
        .concat();
        let member = [b"PK\x03\x04\x14\x00", &common[..], name.as_bytes(), &content].concat();
        let entry = [b"PK\x01\x02\x14\x00\x14\x00", &common[..], &[0; 14], name.as_bytes()].concat();
        let places = [entry.len() as u32, member.len() as u32].map(u32::to_le_bytes).concat();
        [&member[..], &entry, b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &places, &[0; 2]].concat()
    }

    fn safetensors(header: &[u8], length: u64) -> Vec<u8> {
        [&length.to_le_bytes(), header, &[0; 8]].concat()
    }

    /// The reader's complaint, in time.
    fn refusal(name: &str, bytes: &[u8]) -> String {
        let start = Instant::now();
        let read = read_network(bytes);
        let took = start.elapsed();
        assert!(took < LONGEST, "{name}: {took:?}");
        read.expect_err(name).to_string()
    }

    /// Largest memory of this process so far, where the system tells it.
    fn peak_megabytes() -> Option<u64> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().unwrap() / 1024)
    }

    /// The longest that a mutation of a file takes to be read or refused.
    fn longest_of_mutations(path: &Path) -> Duration {
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(path).unwrap();
        let mut rng = Seed::new(3).named(name).rng();
        let mut longest = Duration::ZERO;
        for _ in 0..MUTATIONS {
            let mut mutated = bytes.clone();
            for _ in 0..rng.random_range(1..=4) {
                let at = rng.random_range(0..bytes.len());
                mutated[at] = rng.random();
            }
            let start = Instant::now();
            let _ = (read_network(&mutated), Checkpoint::from_bytes(&mutated));
            longest = longest.max(start.elapsed());
            assert!(longest < LONGEST, "{name}: {longest:?}");
        }
        longest
    }

    #[test]
    fn hostile_files_cost_neither_time_nor_memory() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let read = |name: &str| fs::read(fixtures.join(name)).unwrap();
        let huge = br#"{"0.weight":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#;
        let deep = format!("{{{}", "[".repeat((4 << 20) - 1));
        for (name, bytes, words) in [
            ("os_system.pth", read("os_system.pth"), "asks to call posix.system: refused"),
            ("convolution.pth", read("convolution.pth"), "looks like a convolution"),
            ("bomb.npz", bomb("W0.npy", 240 << 20, 240 << 20), "more than 100 times"),
            ("bomb.pth", bomb("archive/data.pkl", 240 << 20, 240 << 20), "above the 0 that are left"),
            ("modest bomb.npz", bomb("W0.npy", 240 << 20, 1 << 20), "size or checksum"),
            ("boasting bomb.npz", bomb("W0.npy", 1 << 20, u32::MAX), "left of the limit"),
            ("2^60.safetensors", safetensors(b"{\"a\":1}", 1 << 60), "1152921504606846976"),
            ("huge.safetensors", safetensors(huge, huge.len() as u64), "safetensors"),
            ("deep.safetensors", safetensors(deep.as_bytes(), deep.len() as u64), "safetensors"),
        ] {
            let message = refusal(name, &bytes);
            assert!(message.contains(words), "{name}: {message}");
        }
        let files: Vec<PathBuf> =
            fs::read_dir(&fixtures).unwrap().map(|entry| entry.unwrap().path()).collect();
        let is_weights = |path: &&PathBuf| {
            let name = path.to_str().unwrap();
            path.is_file() && ![".json", ".md", ".py"].iter().any(|end| name.ends_with(end))
        };
        let longest: Vec<Duration> = files
            .par_iter()
            .with_max_len(1)
            .filter(is_weights)
            .map(|path| longest_of_mutations(path))
            .collect();
        let (files, longest) = (longest.len(), longest.into_iter().max().unwrap());
        assert!(files > 15, "{files} fixtures");
        match peak_megabytes() {
            Some(peak) => {
                println!(
                    "{MUTATIONS} mutations of each of {files} files: at most {longest:?} each, {peak} MB in all"
                );
                assert!(peak < MOST_MEGABYTES, "{peak} MB");
            }
            None => println!("left out: this system does not tell a process's memory"),
        }
    }
}
