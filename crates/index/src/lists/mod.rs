//! Codes in inverted lists: a search visits the lists whose centroids are nearest, or the only one.
//!
//! Row `i` lies in the list of its nearest centroid; within a list rows keep their order. A place is the
//! position of a row in list order; `ids[place]` is the row. Codes of a list are packed on their own, as their
//! code wants them for scanning. With `residual`, codes hold `x - c` and a list is scanned for `q - c`, where
//! `c` is its centroid; for inner products `-<q, c>` is then added.
//!
//! Distances are those of the code, or of the finer code where there is one: it ranks the `rerank` best rows
//! for each answer again. Answers are ordered by `(distance, id)`.
//! Source: Jégou, Douze and Schmid, TPAMI 2011, section IV.
//!
//! Files: `build` fills the lists, `coarse` finds them, `finer` ranks again; this one answers requests.

mod build;
mod coarse;
mod finer;

use crate::array::Array;
use crate::build::BuildError;
use crate::file::{OpenError, Part, PartKind, Sections};
use crate::scan::passing_share;
use crate::search::{Effort, Filter, Index, Request, SearchError, Stats};
use crate::spec::{Layout, ListsSpec, Spec};
use coarse::Coarse;
pub(crate) use coarse::sample;
use data::{Hit, Hits, Id, Metric, Rows};
pub(crate) use finer::Finer;
use quant::Codec;
use rayon::prelude::*;
use std::num::NonZeroUsize;

/// Lists visited where the request names no number: a thirty-second of them, but no fewer than this.
const PROBES: usize = 16;
/// Rows ranked again for each answer where the request names no number.
const RERANK: NonZeroUsize = NonZeroUsize::new(10).unwrap();
/// Queries whose lists are looked up together.
const TOGETHER: usize = 64;

/// Codes in lists.
pub(crate) struct Lists {
    spec: ListsSpec,
    metric: Metric,
    dim: usize,
    coarse: Option<Coarse>,
    codec: Box<dyn Codec>,
    /// `codec` as a file holds it.
    trained: Vec<u8>,
    places: Places,
    finer: Option<Finer>,
}

/// What lies where.
pub(crate) struct Places {
    /// `lists + 1`: the first place of each list, then the number of rows.
    starts: Array<u32>,
    /// `lists + 1`: the first byte of each list's packed codes, then the number of bytes.
    offsets: Array<u64>,
    /// Packed codes, list after list.
    codes: Array<u8>,
    /// The row at each place.
    ids: Array<u32>,
}

impl Places {
    /// The first place of a list, how many it has, and its packed codes; empty where a damaged file's numbers
    /// contradict each other.
    fn list(&self, list: usize) -> (u32, usize, &[u8]) {
        let (start, end) = (self.starts[list], self.starts[list + 1]);
        let bytes = self.offsets[list] as usize..self.offsets[list + 1] as usize;
        match (end.checked_sub(start), self.codes.get(bytes)) {
            (Some(len), Some(codes)) if end as usize <= self.ids.len() => (start, len as usize, codes),
            _ => (0, 0, &[]),
        }
    }

    fn lists(&self) -> usize {
        self.starts.len() - 1
    }
}

impl Lists {
    pub(crate) fn build(
        spec: &ListsSpec,
        rows: Rows<'_, f32>,
        metric: Metric,
        seed: u64,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Self, BuildError> {
        build::build(spec, rows, metric, seed, progress)
    }

    pub(crate) fn open(spec: &ListsSpec, sections: &Sections<'_>) -> Result<Self, OpenError> {
        let (n, dim) = (sections.rows(), sections.dim());
        let lists = spec.cells.map_or(1, |cells| cells.count as usize);
        let trained = sections.checked_bytes(PartKind::Code)?.to_vec();
        let codec = sections.codec(&trained, &spec.code, dim)?;
        let coarse = match spec.cells {
            Some(_) => Some(Coarse::open(sections, lists)?),
            None => None,
        };
        let places = Places {
            starts: sections.array(PartKind::ListStarts, lists.checked_add(1))?,
            offsets: sections.array(PartKind::ListOffsets, lists.checked_add(1))?,
            codes: sections.list(PartKind::ListCodes)?,
            ids: sections.array(PartKind::ListIds, Some(n))?,
        };
        let packed = |list: usize| codec.packed_len(places.list(list).1) == places.list(list).2.len();
        sections.check(PartKind::ListStarts)?;
        sections.check(PartKind::ListOffsets)?;
        if !(0..lists).all(packed) || places.starts[0] != 0 || places.starts[lists] as usize != n {
            return Err(sections.damaged("its lists do not fit its rows"));
        }
        let finer = spec.refine.as_ref().map(|code| Finer::open(code, sections)).transpose()?;
        Ok(Self { spec: spec.clone(), metric: sections.metric(), dim, coarse, codec, trained, places, finer })
    }

    /// The nearest by the code among the lists that `probes` names for each query: `(distance, place)`.
    fn scan(&self, queries: Rows<'_, f32>, probes: &[Vec<u32>], k: usize) -> (Vec<Vec<(f32, u64)>>, Stats) {
        let mut stats = Stats::default();
        let residual = self.spec.cells.is_some_and(|cells| cells.residual);
        let found = queries.as_slice().chunks_exact(self.dim).zip(probes).map(|(query, probes)| {
            stats.lists += probes.len() as u64;
            let lists = probes.iter().map(|&list| (list as usize, self.places.list(list as usize)));
            stats.distances += lists.clone().map(|(_, (_, len, _))| len as u64).sum::<u64>();
            match &self.coarse {
                Some(coarse) if residual => {
                    let each = lists.map(|(list, part)| self.residual(coarse, query, list, part, k));
                    let mut found: Vec<(f32, u64)> = each.flatten().collect();
                    found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                    found.truncate(k);
                    found
                }
                _ => {
                    let query = Rows::new(query, self.dim).expect("a query is a row");
                    let mut scanner = self.codec.scanner(query, self.metric, k);
                    lists.for_each(|(_, (start, len, codes))| scanner.scan(codes, len, start.into()));
                    scanner.finish().pop().unwrap_or_default()
                }
            }
        });
        (found.collect(), stats)
    }

    /// The nearest of one list whose codes hold residuals.
    fn residual(
        &self,
        coarse: &Coarse,
        query: &[f32],
        list: usize,
        (start, len, codes): (u32, usize, &[u8]),
        k: usize,
    ) -> Vec<(f32, u64)> {
        let (query, base) = coarse.residual(query, list, self.metric);
        let query = Rows::new(&query, self.dim).expect("a query is a row");
        let mut scanner = self.codec.scanner(query, self.metric, k);
        scanner.scan(codes, len, start.into());
        let mut found = scanner.finish().pop().unwrap_or_default();
        found.iter_mut().for_each(|(distance, _)| *distance += base);
        found
    }

    /// Answers for a few queries.
    fn answer(&self, queries: Rows<'_, f32>, plan: &Plan<'_>) -> (Vec<Vec<Hit>>, Stats) {
        let mut stats = Stats::default();
        let probes: Vec<Vec<u32>> = match &self.coarse {
            Some(coarse) => {
                stats.distances += (queries.len() * self.places.lists()) as u64;
                coarse.nearest(queries, self.metric, plan.probes)
            }
            None => vec![vec![0]; queries.len()],
        };
        let (found, cost) = self.scan(queries, &probes, plan.fetch);
        stats += cost;
        let hits = queries.iter().zip(&probes).zip(found).map(|((query, probes), found)| {
            let places = self.passing(query, probes, found, plan, &mut stats);
            self.ranked(query, places, plan.k, &mut stats)
        });
        (hits.collect(), stats)
    }

    /// Those found that pass the filter; where they are too few, more are looked for in the same lists.
    fn passing(
        &self,
        query: &[f32],
        probes: &[u32],
        mut found: Vec<(f32, u64)>,
        plan: &Plan<'_>,
        stats: &mut Stats,
    ) -> Vec<(f32, u64)> {
        let Some(keep) = plan.keep else { return found };
        let wanted = plan.k.saturating_mul(plan.rerank);
        let mut fetched = plan.fetch;
        loop {
            let all = found.len() < fetched;
            found
                .retain(|&(_, place)| self.places.ids.get(place as usize).is_some_and(|&id| keep(id.into())));
            if all || found.len() >= wanted {
                found.truncate(wanted);
                return found;
            }
            fetched = fetched.saturating_mul(8).min(self.places.ids.len() + 1);
            let query = Rows::new(query, self.dim).expect("a query is a row");
            let (again, cost) = self.scan(query, &[probes.to_vec()], fetched);
            *stats += cost;
            found = again.into_iter().next().unwrap_or_default();
        }
    }

    /// The `k` nearest of `found`, by the finer code where there is one.
    fn ranked(&self, query: &[f32], mut found: Vec<(f32, u64)>, k: usize, stats: &mut Stats) -> Vec<Hit> {
        if let Some(finer) = &self.finer {
            stats.distances += found.len() as u64;
            finer.rank(query, self.metric, &mut found);
        }
        let hit = |(distance, place): (f32, u64)| {
            // A damaged file may name rows that do not exist.
            let id = *self.places.ids.get(place as usize)?;
            ((id as usize) < self.places.ids.len()).then_some(Hit { id: id.into(), distance })
        };
        let mut hits: Vec<Hit> = found.into_iter().filter_map(hit).collect();
        hits.sort_by(Hit::order);
        hits.truncate(k);
        hits
    }

    fn plan<'a>(&self, request: &Request<'a>) -> Plan<'a> {
        let (n, lists) = (self.places.ids.len(), self.places.lists());
        let k = request.k.get().min(n);
        let rerank = if self.finer.is_some() { request.effort.rerank.unwrap_or(RERANK).get() } else { 1 };
        let mut probes = request.effort.probes.map_or(PROBES, NonZeroUsize::get).min(lists);
        let mut fetch = k.saturating_mul(rerank).min(n);
        let keep = match request.filter {
            Filter::All => None,
            Filter::When(keep) => Some(keep),
        };
        if let Some(keep) = keep {
            let share = passing_share(n, keep);
            // The k nearest of those that pass lie as far out as the k / share nearest of all. Lists in that
            // distance grow slower than rows do; twice the root has held in the tests.
            let wider = 2.0 * probes as f64 / share.max(1.0 / n as f64).sqrt();
            probes = (wider as usize).clamp(probes, lists);
            fetch = ((1.5 * fetch as f64 / share.max(1.0 / n as f64)) as usize).clamp(fetch, n + 1);
        }
        Plan { k, rerank, probes, fetch, keep }
    }
}

/// How the queries of one request are answered.
struct Plan<'a> {
    k: usize,
    /// Rows ranked again for each answer.
    rerank: usize,
    /// Lists visited.
    probes: usize,
    /// Rows kept by the code.
    fetch: usize,
    keep: Option<&'a (dyn Fn(Id) -> bool + Sync)>,
}

impl Index for Lists {
    fn spec(&self) -> Spec {
        Spec { layout: Layout::Lists(self.spec.clone()) }
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn len(&self) -> usize {
        self.places.ids.len()
    }

    fn effort(&self) -> Effort {
        let probes = PROBES.max(self.places.lists() / 32).min(self.places.lists());
        Effort {
            beam: None,
            probes: self.coarse.as_ref().and(NonZeroUsize::new(probes)),
            rerank: self.finer.as_ref().map(|_| RERANK),
        }
    }

    fn search_resolved(
        &self,
        queries: Rows<'_, f32>,
        request: &Request<'_>,
        hits: &mut Hits,
    ) -> Result<Stats, SearchError> {
        let plan = self.plan(request);
        let answers: Vec<(Vec<Vec<Hit>>, Stats)> = queries
            .as_slice()
            .par_chunks(TOGETHER * self.dim)
            .map(|queries| self.answer(Rows::new(queries, self.dim).expect("whole queries"), &plan))
            .collect();
        let mut stats = Stats::default();
        for (lists, cost) in answers {
            lists.into_iter().for_each(|list| hits.push(list));
            stats += cost;
        }
        Ok(stats)
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = vec![Part::new(PartKind::Code, &self.trained)];
        parts.extend(self.coarse.as_ref().map(Coarse::part));
        parts.extend([
            Part::new(PartKind::ListStarts, &self.places.starts[..]),
            Part::new(PartKind::ListOffsets, &self.places.offsets[..]),
            Part::new(PartKind::ListIds, &self.places.ids[..]),
            Part::new(PartKind::ListCodes, &self.places.codes[..]),
        ]);
        parts.extend(self.finer.iter().flat_map(Finer::parts));
        parts
    }
}
