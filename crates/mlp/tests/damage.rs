//! Damage of every kind to a small file of every format: it is read or refused, in time, and never a panic.
//!
//! `hostile.rs` replaces single bytes. Here ranges are cut out, doubled, exchanged and inserted, fields become extreme, and
//! files end early or in another file; whole files, and what lies under their checksums.
//! `cargo test --release -p palimpsest-mlp --test damage -- --ignored` does ten thousand of each.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use flate2::Crc;
    use ndarray_rand::rand::Rng;
    use palimpsest_mlp::import::{ReadOptions, read_network, read_network_with};
    use palimpsest_mlp::train::Schedule;
    use palimpsest_mlp::{BiasPlacement, Checkpoint, Mlp, Provenance};
    use palimpsest_numerics::seed::Seed;
    use palimpsest_numerics::zip::Archive;
    use rayon::prelude::*;

    const LONGEST: Duration = Duration::from_secs(1);
    const MOST_MEGABYTES: u64 = 200;
    /// Bytes of a checkpoint before its payload: 20, then the checksum.
    const HEADER: usize = 52;

    /// Where the damage is done.
    #[derive(Clone, Copy, Debug)]
    enum Depth {
        /// In the file.
        File,
        /// In a member of the archive, whose checksum is made anew.
        Member,
        /// In the payload of a checkpoint, whose checksum is made anew.
        Payload,
    }

    struct Victim {
        name: &'static str,
        bytes: Vec<u8>,
        depth: Depth,
    }

    fn checkpoint() -> Vec<u8> {
        let network = Mlp::initialise(&[12, 16, 10, 1], BiasPlacement::Everywhere, 0.1, Seed::new(1));
        let provenance = Provenance {
            made_by: "a test".into(),
            data: Some("random".into()),
            schedule: Some(Schedule::WeightDecay { weight_decay: 1e-3, step_size: 0.1 }),
            image_shape: Some([3, 2, 2]),
            ..Provenance::default()
        };
        Checkpoint { network, provenance }.to_bytes()
    }

    fn victims() -> Vec<Victim> {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let victim = |name, depth| Victim { name, bytes: fs::read(fixtures.join(name)).unwrap(), depth };
        let checkpoint = |depth| Victim { name: "model.palimpsest", bytes: checkpoint(), depth };
        let archives = [
            "sequential_bias_everywhere.pth",
            "training_run.pth",
            "mixed_compressed.npz",
            "mlp.skops",
            "model.keras",
        ];
        let files = [
            "sequential_bias_everywhere.safetensors",
            "before_1_6.pth",
            "legacy.h5",
            "weights_only.weights.h5",
            "gemm.onnx",
            "matmul_add.onnx",
        ];
        let whole = archives.into_iter().chain(files).map(|name| victim(name, Depth::File));
        let inside = archives.into_iter().map(|name| victim(name, Depth::Member));
        whole.chain(inside).chain([checkpoint(Depth::File), checkpoint(Depth::Payload)]).collect()
    }

    /// A stored archive of members (name, bytes) with right checksums.
    fn zip_of(members: &[(String, Vec<u8>)]) -> Vec<u8> {
        let (mut bytes, mut list) = (Vec::new(), Vec::new());
        for (name, content) in members {
            let mut sum = Crc::new();
            sum.update(content);
            let size = (content.len() as u32).to_le_bytes();
            let length = (name.len() as u16).to_le_bytes();
            let common = [&[0; 8][..], &sum.sum().to_le_bytes(), &size, &size, &length, &[0; 2]].concat();
            let at = (bytes.len() as u32).to_le_bytes();
            list.extend(
                [b"PK\x01\x02\x14\x00\x14\x00", &common[..], &[0; 10], &at, name.as_bytes()].concat(),
            );
            bytes.extend([b"PK\x03\x04\x14\x00", &common[..], name.as_bytes(), content].concat());
        }
        let (count, at) = ((members.len() as u16).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
        let length = (list.len() as u32).to_le_bytes();
        bytes.extend(list);
        bytes.extend([b"PK\x05\x06", &[0; 4][..], &count, &count, &length, &at, &[0; 2]].concat());
        bytes
    }

    fn members_of(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let archive = Archive::open(bytes).unwrap();
        let members = archive.members().iter();
        members.map(|m| (m.name().to_owned(), m.content(&mut (1 << 20)).unwrap().into_owned())).collect()
    }

    /// A range of at most `most` of the `length` bytes there are.
    fn range(length: usize, most: usize, rng: &mut impl Rng) -> std::ops::Range<usize> {
        let start = rng.random_range(0..length);
        start..(start + rng.random_range(1..=most)).min(length)
    }

    /// One thing done to bytes, of which there are some.
    fn damaged(mut bytes: Vec<u8>, rng: &mut impl Rng) -> Vec<u8> {
        if bytes.is_empty() {
            return vec![rng.random(); rng.random_range(0..9)];
        }
        let length = bytes.len();
        match rng.random_range(0..8) {
            0 => (0..rng.random_range(1..=4)).for_each(|_| bytes[rng.random_range(0..length)] = rng.random()),
            1 => (0..rng.random_range(1..=8))
                .for_each(|_| bytes[rng.random_range(0..length)] ^= 1 << rng.random_range(0..8)),
            2 => {
                let extremes = [
                    0,
                    1,
                    0x7f,
                    0x80,
                    0xff,
                    0x7fff_ffff,
                    0x8000_0000,
                    u64::MAX >> 1,
                    u64::MAX,
                    length as u64,
                ];
                let value = extremes[rng.random_range(0..extremes.len())].to_le_bytes();
                let at = range(length, 1 << rng.random_range(0..4), rng);
                let width = at.len().min(8);
                bytes[at.start..at.start + width].copy_from_slice(&value[..width]);
            }
            3 => bytes.truncate(rng.random_range(0..length)),
            4 => drop(bytes.drain(range(length, 64, rng))),
            5 => {
                let doubled = bytes[range(length, 256, rng)].to_vec();
                let at = rng.random_range(0..=length);
                bytes.splice(at..at, doubled);
            }
            6 => {
                let (a, b) = (range(length, 32, rng), range(length, 32, rng));
                for (i, j) in a.zip(b) {
                    bytes.swap(i, j);
                }
            }
            _ => {
                let end = bytes[range(length, length, rng)].to_vec();
                bytes.truncate(rng.random_range(0..length));
                bytes.extend(end);
            }
        }
        bytes
    }

    impl Victim {
        fn damaged(&self, rng: &mut impl Rng) -> Vec<u8> {
            match self.depth {
                Depth::File => damaged(self.bytes.clone(), rng),
                Depth::Member => {
                    let mut members = members_of(&self.bytes);
                    let at = rng.random_range(0..members.len());
                    members[at].1 = damaged(std::mem::take(&mut members[at].1), rng);
                    zip_of(&members)
                }
                Depth::Payload => {
                    let payload = damaged(self.bytes[HEADER..].to_vec(), rng);
                    let length = (payload.len() as u64).to_le_bytes();
                    [&self.bytes[..12], &length, blake3::hash(&payload).as_bytes(), &payload].concat()
                }
            }
        }

        /// The longest that a damaged file takes, and how many are read.
        fn survives(&self, times: usize) -> (Duration, usize) {
            let mut rng = Seed::new(5).named(self.name).named(&format!("{:?}", self.depth)).rng();
            let (mut longest, mut read) = (Duration::ZERO, 0);
            for time in 0..times {
                let bytes = self.damaged(&mut rng);
                let start = Instant::now();
                let plain = read_network(&bytes).is_ok() || Checkpoint::from_bytes(&bytes).is_ok();
                let _ = read_network_with(&bytes, &ReadOptions::of_chain("0"));
                longest = longest.max(start.elapsed());
                read += usize::from(plain);
                assert!(longest < LONGEST, "{} {:?}, damage {time}: {longest:?}", self.name, self.depth);
            }
            (longest, read)
        }
    }

    fn all_survive(times: usize) {
        victims().par_iter().with_max_len(1).for_each(|victim| {
            let (longest, read) = victim.survives(times);
            println!("{} {:?}: {read} of {times} read, at most {longest:?}", victim.name, victim.depth);
        });
    }

    #[test]
    fn damage_of_every_kind_is_refused_or_read() {
        all_survive(150);
    }

    #[test]
    #[ignore = "ten thousand of each format take a minute"]
    fn ten_thousand_damages_of_every_format_cost_neither_time_nor_memory() {
        all_survive(10_000);
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
            let megabytes = peak.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024;
            println!("{megabytes} MB in all");
            assert!(megabytes < MOST_MEGABYTES, "{megabytes} MB");
        }
    }
}
