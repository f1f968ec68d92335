//! What is measured: the works the documentation quotes, one size varied at a time, and a few that are large.

use std::path::Path;

use palimpsest_mlp::passes::Scope;

use super::engine::{alternating, certificate, closed_form, epoch, product, restarted};
use super::job;
use super::passes;
use super::work::{Net, Work};

const PUBLISHED: Net = Net::PUBLISHED;
/// The published network on the coordinates of 500 training inputs.
const SUBSPACE: Net = Net { d: 500, ..PUBLISHED };

/// What the documentation quotes.
pub(super) fn main_works(cores: usize) -> Vec<Work> {
    let threads = if cores > 1 { vec![1, 2] } else { vec![1] };
    let mut works = Vec::new();
    for &threads in &threads {
        for (m, k, n) in [(1000, 500, 1000), (1000, 1000, 1000), (1000, 3072, 1000), (198, 1000, 1000)] {
            for transposed in ["nn", "nt", "tn"] {
                works.push(product(m, k, n, transposed, threads));
            }
        }
    }
    for &threads in &threads {
        let peer = Some("epoch 500 3072 1000 3");
        works.push(epoch("Training", "training epoch, n = 500, all inputs", 500, PUBLISHED, peer, threads));
        let name = "training epoch, n = 500, exact subspace";
        works.push(epoch("Training", name, 500, SUBSPACE, peer, threads));
        let name = "training epoch with momentum, n = 500, exact subspace";
        works.push(epoch("Training", name, 500, SUBSPACE, None, threads));
    }
    for &threads in &threads {
        // The peer knows no subspace: it does the work of all inputs.
        for precision in ["float32", "float64"] {
            for (space, net) in [("all inputs", PUBLISHED), ("subspace 500", SUBSPACE)] {
                let name = format!("published attack step, m = 1000, {space}, beside {precision}");
                let peer = format!("attack 1000 {} 1000 3 {precision}", PUBLISHED.d);
                works.push(closed_form("Attack", &name, 1000, net, Scope::AllLayers, Some(&peer), threads));
            }
        }
        let name = "annealed descent step, m = 1000, subspace 500";
        works.push(closed_form("Attack", name, 1000, SUBSPACE, Scope::FirstLayer, None, threads));
        let name = "alternating step, m = 1000, subspace 500";
        works.push(alternating("Attack", name, 1000, SUBSPACE, threads));
    }
    works.extend(passes::works());
    works
}

/// One size varied at a time, and whole commands.
pub(super) fn scaling_works(cores: usize, program: &Path) -> Vec<Work> {
    let mut works = Vec::new();
    let threads = cores.min(2);
    let net = |d, width, depth| Net { d, width, depth };
    let group = "Scaling in n";
    for n in [100, 500, 1000, 2000, 5000] {
        let name = format!("epoch, n = {n}, exact subspace");
        works.push(epoch(group, &name, n, net(n.min(3072), 1000, 3), None, threads));
    }
    for n in [100, 500, 1000] {
        works.push(certificate(group, n, PUBLISHED, threads));
    }
    for m in [100, 200, 500, 1000, 2000] {
        let name = format!("annealed step, m = {m}, subspace {}", m / 2);
        let net = net(m / 2, 1000, 3);
        works.push(closed_form("Scaling in m", &name, m, net, Scope::FirstLayer, None, threads));
    }
    let group = "Scaling in width";
    for width in [256, 1000, 2000, 4096] {
        let name = format!("epoch, n = 500, exact subspace, width {width}");
        works.push(epoch(group, &name, 500, net(500, width, 3), None, threads));
        let name = format!("annealed step, m = 200, subspace 100, width {width}");
        works.push(closed_form(group, &name, 200, net(100, width, 3), Scope::FirstLayer, None, threads));
    }
    let group = "Scaling in d";
    for d in [784, 3072, 12_288] {
        let name = format!("epoch, n = 500, all inputs, d = {d}");
        works.push(epoch(group, &name, 500, net(d, 1000, 3), None, threads));
        let name = format!("published step, m = 500, all inputs, d = {d}");
        works.push(closed_form(group, &name, 500, net(d, 1000, 3), Scope::AllLayers, None, threads));
    }
    let group = "Scaling in depth";
    for depth in [2, 3, 4, 5] {
        let name = format!("epoch, n = 500, exact subspace, {depth} layers");
        works.push(epoch(group, &name, 500, net(500, 1000, depth), None, threads));
        let name = format!("annealed step, m = 200, subspace 100, {depth} layers");
        works.push(closed_form(group, &name, 200, net(100, 1000, depth), Scope::FirstLayer, None, threads));
    }
    for restarts in [1, 2, 4, 8] {
        works.push(restarted(restarts, threads));
    }
    works.extend(job::works(threads, program));
    works
}

/// What takes minutes or gigabytes: run only when `--only` names it.
pub(super) fn large_works(cores: usize) -> Vec<Work> {
    let threads = cores.min(2);
    let wide = Net { d: 12_288, width: 4096, depth: 3 };
    vec![
        epoch("Large", "epoch, d = 12288, width 4096, n = 2000, all inputs", 2000, wide, None, threads),
        closed_form(
            "Large",
            "published step, d = 12288, width 4096, m = 2000, all inputs",
            2000,
            wide,
            Scope::AllLayers,
            None,
            threads,
        ),
        certificate("Large", 5000, PUBLISHED, threads),
    ]
}
