//! Which sources of different settings are the same picture.

use ndarray::{Array2, ArrayView2, s};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::reduce;
use rayon::prelude::*;

/// Sources compared with all others in one product.
const BLOCK: usize = 128;

/// A separation of one truncation by one operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Index in the grid of ranks.
    pub(super) rank: usize,
    /// Index of the operator.
    pub(super) operator: usize,
}

/// Sources of all settings so far, and which are alike.
pub(super) struct Pool {
    same_cosine: f32,
    /// Sources in coordinates in which the product of two is the cosine of their edges, unit rows, (count, r).
    edges: Array2<f32>,
    settings: Vec<Setting>,
    /// Sources alike to each, itself among them, with the cosine's size.
    alike: Vec<Vec<(u32, f32)>>,
}

impl Pool {
    /// An empty pool of sources of so many directions.
    pub(super) fn new(directions: usize, same_cosine: f32) -> Self {
        Self { same_cosine, edges: Array2::zeros((0, directions)), settings: Vec::new(), alike: Vec::new() }
    }

    pub(super) fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// In which settings the pictures of `clusters`, which are one, were found.
    pub(super) fn found<'a>(&self, clusters: impl Iterator<Item = &'a Cluster>) -> FoundIn {
        let (mut settings, mut cosines, mut count) = (Vec::new(), 0.0, 0);
        for cluster in clusters {
            let alike = &self.alike[cluster.centre];
            settings.extend(alike.iter().map(|&(other, _)| self.settings[other as usize]));
            cosines += alike.iter().map(|&(_, cosine)| f64::from(cosine)).sum::<f64>();
            count += alike.len();
        }
        settings.sort_unstable_by_key(|setting| (setting.operator, setting.rank));
        settings.dedup();
        FoundIn { settings, tightness: cosines / count.max(1) as f64 }
    }

    /// 1 or -1: whether two sources are the same picture or one is the other's negative.
    pub(super) fn sign(&self, one: usize, other: usize) -> f32 {
        let product = reduce::inner(
            self.edges.row(one).to_slice().expect("rows are contiguous"),
            self.edges.row(other).to_slice().expect("rows are contiguous"),
        );
        if product < 0.0 { -1.0 } else { 1.0 }
    }

    /// Adds sources of `setting`: unit rows of the first directions, (m, k) with k at most all.
    pub(super) fn add(&mut self, sources: ArrayView2<'_, f32>, setting: Setting) {
        let (before, directions) = self.edges.dim();
        let mut all = Array2::zeros((before + sources.nrows(), directions));
        all.slice_mut(s![..before, ..]).assign(&self.edges);
        all.slice_mut(s![before.., ..sources.ncols()]).assign(&sources);
        self.edges = all;
        self.settings.extend(std::iter::repeat_n(setting, sources.nrows()));
        self.alike.resize(self.settings.len(), Vec::new());
        let blocks: Vec<usize> = (0..self.settings.len()).step_by(BLOCK).collect();
        let compared: Vec<Array2<f32>> = blocks
            .par_iter()
            .map(|&start| {
                let end = (start + BLOCK).min(self.settings.len());
                let old = self.edges.slice(s![start..end, ..sources.ncols()]);
                matmul(old, sources.t(), Parallelism::Sequential)
            })
            .collect();
        for (start, cosines) in blocks.into_iter().zip(compared) {
            for ((old, new), cosine) in cosines.indexed_iter() {
                let (old, new, size) = (start + old, before + new, cosine.abs());
                if size > self.same_cosine {
                    self.alike[new].push((old as u32, size));
                    if old < before {
                        self.alike[old].push((new as u32, size));
                    }
                }
            }
        }
    }

    /// Sources of the truncation `rank` that at least `operators` of its settings agree on, one for each picture, and how many of them
    /// are like none of `known`.
    pub(super) fn confirmed(&self, rank: usize, operators: usize, known: &[usize]) -> Confirmed {
        let here = |&(other, _): &&(u32, f32)| self.settings[*other as usize].rank == rank;
        let first =
            self.settings.iter().position(|setting| setting.rank == rank).unwrap_or(self.settings.len());
        let mut taken = vec![false; self.settings.len()];
        let mut confirmed = Confirmed::default();
        for source in first..self.settings.len() {
            let alike: Vec<usize> =
                self.alike[source].iter().filter(here).map(|&(other, _)| other as usize).collect();
            let mut found: Vec<usize> = alike.iter().map(|&other| self.settings[other].operator).collect();
            found.sort_unstable();
            found.dedup();
            if found.len() < operators || taken[source] {
                continue;
            }
            alike.iter().for_each(|&other| taken[other] = true);
            confirmed.count += 1;
            let old = |&(other, _): &(u32, f32)| known.binary_search(&(other as usize)).is_ok();
            if !self.alike[source].iter().any(old) {
                confirmed.new += 1;
            }
            confirmed.members.extend(alike);
        }
        confirmed
    }

    /// Sources that stand for distinct pictures with those alike: most settings first, then smallest index.
    pub(super) fn clusters(&self) -> Vec<Cluster> {
        let support: Vec<usize> = (0..self.settings.len()).map(|source| self.support(source)).collect();
        let mut order: Vec<usize> = (0..support.len()).collect();
        order.sort_by_key(|&source| (std::cmp::Reverse(support[source]), source));
        let mut taken = vec![false; support.len()];
        let mut clusters = Vec::new();
        for centre in order {
            if taken[centre] {
                continue;
            }
            let members: Vec<usize> = self.alike[centre]
                .iter()
                .map(|&(other, _)| other as usize)
                .filter(|&other| !taken[other])
                .collect();
            members.iter().for_each(|&member| taken[member] = true);
            taken[centre] = true;
            clusters.push(Cluster { centre, members, support: support[centre] });
        }
        clusters
    }

    /// In how many settings a source was found.
    fn support(&self, source: usize) -> usize {
        let mut settings: Vec<(usize, usize)> = self.alike[source]
            .iter()
            .map(|&(other, _)| self.settings[other as usize])
            .map(|setting| (setting.rank, setting.operator))
            .collect();
        settings.sort_unstable();
        settings.dedup();
        settings.len()
    }
}

/// What the settings of one truncation agree on.
#[derive(Debug, Default)]
pub(super) struct Confirmed {
    /// Distinct pictures.
    pub(super) count: usize,
    /// Of these, pictures that were not known.
    pub(super) new: usize,
    /// All sources that are one of these pictures.
    pub(super) members: Vec<usize>,
}

/// Where a picture was found.
pub(super) struct FoundIn {
    /// By operator, then by truncation; each once.
    pub(super) settings: Vec<Setting>,
    /// Mean cosine of its sources with their centre.
    pub(super) tightness: f64,
}

/// Sources that are one picture.
pub(super) struct Cluster {
    /// The source that most settings agree with.
    pub(super) centre: usize,
    /// Sources alike to it that are no other picture's, in the order in which they were found.
    pub(super) members: Vec<usize>,
    /// In how many settings the picture was found.
    pub(super) support: usize,
}

/// Groups of pictures that are one, given their `edges` (k, r), unit rows, and the largest truncation in which each was `last` seen: each
/// group begins with the one that was seen in the largest, then with the surest.
///
/// What only small truncations see is a blend of several pictures: it must not come first and swallow them all.
pub(super) fn merged(edges: ArrayView2<'_, f32>, last: &[usize], cosine: f32) -> Vec<Vec<usize>> {
    let products = matmul(edges, edges.t(), Parallelism::Sequential);
    let mut order: Vec<usize> = (0..edges.nrows()).collect();
    order.sort_by_key(|&picture| std::cmp::Reverse(last[picture]));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for picture in order {
        let like = |group: &Vec<usize>| products[[group[0], picture]].abs();
        // The most alike group, the first of several.
        let nearest =
            (0..groups.len()).max_by(|&a, &b| like(&groups[a]).total_cmp(&like(&groups[b])).then(b.cmp(&a)));
        match nearest.filter(|&group| like(&groups[group]) > cosine) {
            Some(group) => groups[group].push(picture),
            None => groups.push(vec![picture]),
        }
    }
    groups
}
