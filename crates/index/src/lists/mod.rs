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
//! Files: `spec` names them, `build` fills the lists; `coarse` finds them, as `nearest` says, or as `product` and
//! `multi_sequence` do, and `router` lets another index find them;
//! `visit` reads them, `gather` those of a product; `sieve` tells which rows pass a filter, `finer` ranks again; this one answers requests.

pub(crate) mod bounds;
mod build;
mod coarse;
mod finer;
mod gather;
mod multi_sequence;
mod nearest;
mod product;
mod router;
mod sieve;
pub(crate) mod spec;
mod visit;

use crate::Watch;
use crate::array::Array;
use crate::build::BuildError;
use crate::file::{OpenError, Part, PartKind, Sections};
use crate::search::{Effort, Filter, Index, Request, SearchError, Stats};
use crate::spec::{Layout, ListsSpec, Spec};
use bounds::PROBES;
pub(crate) use build::encode_rows;
use coarse::Coarse;
pub(crate) use coarse::sample;
use data::{Hit, Hits, Metric, Rows};
pub(crate) use finer::Finer;
use quant::{Codec, Slab};
use rayon::prelude::*;
use sieve::Sieve;
use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::OnceLock;
use visit::{Found, Visits};

/// Rows ranked again for each answer where the request names no number.
const RERANK: NonZeroUsize = NonZeroUsize::new(10).unwrap();
/// What a row that passes costs when its code, the finer one where there is one, is read alone, in rows of a visited
/// list.
const READ_COST: f64 = 2.0;
/// The same where all codes lie in one list, which is read in one go.
const WHOLE_COST: f64 = 8.0;
/// What a row that passes costs when its block of codes is scanned for it alone, in rows of a visited list.
const ALONE_COST: f64 = 32.0;
/// Queries of a block at most: their tables should stay in the second-level cache.
const TOGETHER: usize = 1024;
/// Pairs that the queries of a block keep at most, unless a single one wants more.
const HELD: usize = 1 << 22;

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
    /// What each row adds to distances made of products with residuals, where lists are those of a product.
    terms: Option<Array<f32>>,
    finer: Option<Finer>,
    /// The place of each row, 4 bytes a row, made when a filter first needs it.
    place_of: OnceLock<Vec<u32>>,
}

/// What lies where.
pub(crate) struct Places {
    /// `lists + 1`: the first place of each list, then the number of rows.
    starts: Array<u32>,
    /// `lists + 1`: the first byte of each list's packed codes, then the number of bytes. None where codes lie row
    /// by row.
    offsets: Option<Array<u64>>,
    /// Packed codes, list after list.
    codes: Array<u8>,
    /// The row at each place.
    ids: Array<u32>,
}

impl Places {
    /// The first place of a list, how many it has, and its packed codes; empty where a damaged file's numbers
    /// contradict each other.
    fn list(&self, list: usize) -> (u32, usize, &[u8]) {
        let Some(offsets) = &self.offsets else { return (0, 0, &[]) };
        let bytes = offsets[list] as usize..offsets[list + 1] as usize;
        match (self.span(list), self.codes.get(bytes)) {
            ((start, len), Some(codes)) => (start, len as usize, codes),
            _ => (0, 0, &[]),
        }
    }

    /// The first place of a list and how many it has.
    fn span(&self, list: usize) -> (u32, u32) {
        let (start, end) = (self.starts[list], self.starts[list + 1]);
        match end.checked_sub(start) {
            Some(len) if end as usize <= self.ids.len() => (start, len),
            _ => (0, 0),
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
        watch: &Watch<'_>,
    ) -> Result<Self, BuildError> {
        build::build(spec, rows, metric, seed, watch)
    }

    pub(crate) fn open(spec: &ListsSpec, sections: &Sections<'_>) -> Result<Self, OpenError> {
        let (n, dim) = (sections.rows(), sections.dim());
        let lists = spec.cells.as_ref().map_or(1, |cells| cells.partition.lists());
        let trained = sections.checked_bytes(PartKind::Code)?.to_vec();
        let codec = sections.codec(&trained, &spec.code, dim)?;
        let coarse = spec.cells.as_ref().map(|cells| Coarse::open(&cells.partition, sections)).transpose()?;
        let by_rows = matches!(coarse, Some(Coarse::Product(_)));
        let offsets = match by_rows {
            true => None,
            false => {
                sections.check(PartKind::ListOffsets)?;
                Some(sections.array(PartKind::ListOffsets, lists.checked_add(1))?)
            }
        };
        let places = Places {
            starts: sections.array(PartKind::ListStarts, lists.checked_add(1))?,
            offsets,
            codes: sections.list(PartKind::ListCodes)?,
            ids: sections.array(PartKind::ListIds, Some(n))?,
        };
        sections.check(PartKind::ListStarts)?;
        let packed = |list: usize| codec.packed_len(places.list(list).1) == places.list(list).2.len();
        let fits = match by_rows {
            true => places.starts.is_sorted() && n.checked_mul(codec.code_len()) == Some(places.codes.len()),
            false => (0..lists).all(packed),
        };
        if !fits || places.starts[0] != 0 || places.starts[lists] as usize != n {
            return Err(sections.damaged("its lists do not fit its rows"));
        }
        let terms = match by_rows && residual_distances(spec, sections.metric()) {
            true => Some(sections.array(PartKind::ListTerms, Some(n))?),
            false => None,
        };
        let finer = spec.refine.as_ref().map(|code| Finer::open(code, sections)).transpose()?;
        Ok(Self {
            spec: spec.clone(),
            metric: sections.metric(),
            dim,
            coarse,
            codec,
            trained,
            places,
            terms,
            finer,
            place_of: OnceLock::new(),
        })
    }

    /// Whether codes hold rows less their centroid.
    fn residual(&self) -> bool {
        self.spec.cells.as_ref().is_some_and(|cells| cells.residual)
    }

    /// Whether codes are the rows themselves.
    fn codes_are_rows(&self) -> bool {
        let quant::Spec { changes, code } = &self.spec.code;
        changes.is_empty() && matches!(code, quant::codes::Code::Full(_)) && !self.residual()
    }

    /// Answers for a block of queries.
    fn answer(&self, queries: Rows<'_, f32>, plan: &Plan<'_>) -> Result<Answers, SearchError> {
        let mut stats = Stats::default();
        if plan.few {
            let hits = self.among(queries, plan, &mut stats);
            return Ok((hits, stats));
        }
        let fetch = plan.k.saturating_mul(plan.rerank);
        let (found, cost) = self.visited(queries, plan, fetch)?;
        stats += cost;
        let mut hits = Vec::with_capacity(queries.len());
        for (i, found) in found.into_iter().enumerate() {
            let mut list = self.ranked(queries.row(i), found, plan.k, &mut stats);
            if list.len() < plan.k && plan.sieve.is_some() {
                // What passes lies elsewhere.
                list = self.among(queries.slice(i..i + 1), plan, &mut stats).remove(0);
            }
            hits.push(list);
        }
        Ok((hits, stats))
    }

    /// The `k` nearest by the code among the lists that each query visits.
    fn visited(
        &self,
        queries: Rows<'_, f32>,
        plan: &Plan<'_>,
        k: usize,
    ) -> Result<(Found, Stats), SearchError> {
        let (probes, mut stats) = match &self.coarse {
            Some(Coarse::Nearest(nearest)) => nearest.nearest(queries, self.metric, plan.probes)?,
            Some(Coarse::Product(product)) => {
                return Ok(self.gather_all(product, queries, plan.probes.get(), plan.sieve.as_ref(), k));
            }
            None => (vec![vec![0]; queries.len()], Stats::default()),
        };
        let (found, cost) = self.scan(queries, &Visits::new(&probes), plan.sieve.as_ref(), k);
        stats += cost;
        Ok((found, stats))
    }

    /// Whether the code of a row can be read alone, and says all about it.
    fn reads_alone(&self) -> bool {
        let codec = &*self.codec;
        !self.residual() && self.places.offsets.is_some() && codec.packed_len(1) == codec.code_len()
    }

    /// The `k` nearest of `rows`, whose codes are brought together.
    fn picked(&self, queries: Rows<'_, f32>, rows: &[u32], k: usize) -> Vec<Vec<Hit>> {
        /// Codes brought together at once.
        const CHUNK: usize = 256;
        let (place_of, codes, len) = (self.place_of(), &self.places.codes, self.codec.code_len());
        let all: Vec<u32> = (0..queries.len() as u32).collect();
        let mut scanner = self.codec.scanner(queries, self.metric, k);
        for (first, rows) in (0..).step_by(CHUNK).zip(rows.chunks(CHUNK)) {
            let places = rows.iter().map(|&row| place_of[row as usize]);
            places.clone().for_each(|place| kernels::prefetch(&codes[place as usize * len..][..len]));
            let picked = finer::picked(codes, len, places);
            scanner.scan(&Slab::new(&picked, rows.len(), first), &all);
        }
        let hit = |(distance, at): (f32, u64)| Hit { id: rows[at as usize].into(), distance };
        scanner.finish().into_iter().map(|found| found.into_iter().map(hit).collect()).collect()
    }

    /// The nearest of all rows that pass: by the finer code alone where there is one.
    fn among(&self, queries: Rows<'_, f32>, plan: &Plan<'_>, stats: &mut Stats) -> Vec<Vec<Hit>> {
        if self.finer.is_some() || self.reads_alone() {
            let rows = plan.rows.get_or_init(|| plan.filter.passing(self.places.ids.len()));
            stats.distances += (queries.len() * rows.len()) as u64;
            let nearest = |finer: &Finer| {
                let nearest = |query| finer.nearest(query, self.metric, rows, self.place_of(), plan.k);
                queries.iter().map(nearest).collect()
            };
            return self.finer.as_ref().map_or_else(|| self.picked(queries, rows, plan.k), nearest);
        }
        let places = plan.places.get_or_init(|| sieve::places(plan.filter, self.place_of()));
        let sieve = Some(&Sieve::Listed(places));
        let (found, cost) = match &self.coarse {
            Some(Coarse::Product(product)) => self.gather_all(product, queries, 0, sieve, plan.k),
            _ => {
                let lists = sieve::lists_of(places, &self.places);
                self.scan(queries, &Visits::new(&vec![lists; queries.len()]), sieve, plan.k)
            }
        };
        *stats += cost;
        let each = queries.iter().zip(found);
        each.map(|(query, found)| self.ranked(query, found, plan.k, stats)).collect()
    }

    /// The `k` nearest of `found`, by the finer code where there is one.
    fn ranked(&self, query: &[f32], mut found: Vec<(f32, u64)>, k: usize, stats: &mut Stats) -> Vec<Hit> {
        if let Some(finer) = &self.finer {
            stats.distances += found.len() as u64;
            finer.rank(query, self.metric, &mut found);
        }
        self.hits(found, k)
    }

    /// The `k` nearest of `found`, by the numbers of their rows.
    fn hits(&self, mut found: Vec<(f32, u64)>, k: usize) -> Vec<Hit> {
        // Numbers lie anywhere in memory: those of rows too far away are not looked up.
        if let Some(last) = k.checked_sub(1).filter(|&last| last < found.len()) {
            let kth = found.select_nth_unstable_by(last, |a, b| a.0.total_cmp(&b.0)).1.0;
            found.retain(|(distance, _)| distance.total_cmp(&kth).is_le());
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

    fn plan<'a>(&self, request: &Request<'a>, bits: &'a mut Vec<u64>) -> Plan<'a> {
        let (n, lists) = (self.places.ids.len(), self.places.lists());
        let k = request.k.get().min(n);
        let rerank = if self.finer.is_some() { request.effort.rerank.unwrap_or(RERANK).get() } else { 1 };
        let mut probes = request.effort.probes.map_or(PROBES, NonZeroUsize::get).min(lists);
        let (filter, mut sieve, mut few) = (request.filter, None, false);
        if !filter.is_all() {
            let share = filter.share(n);
            probes = wider(probes, share).clamp(probes, lists);
            let visited = probes as f64 / lists as f64 * n as f64;
            let dearer = match (self.finer.is_some() || self.reads_alone(), &self.coarse) {
                (true, Some(_)) => READ_COST,
                (true, None) => WHOLE_COST,
                (false, _) => ALONE_COST,
            };
            few = dearer * share * n as f64 <= visited;
            sieve = (!few).then(|| Sieve::asked(filter, bits, n));
        }
        let probes = NonZeroUsize::MIN.saturating_add(probes - 1);
        Plan { k, rerank, probes, filter, few, sieve, rows: OnceLock::new(), places: OnceLock::new() }
    }

    /// The place of each row.
    fn place_of(&self) -> &[u32] {
        self.place_of.get_or_init(|| {
            let mut place_of = vec![0; self.places.ids.len()];
            for (place, &id) in (0..).zip(self.places.ids.iter()) {
                // A damaged file may name rows that do not exist.
                if let Some(slot) = place_of.get_mut(id as usize) {
                    *slot = place;
                }
            }
            place_of
        })
    }
}

/// Lists to visit where a share of the rows pass a filter, and `probes` would do if all did.
///
/// The k nearest of those that pass lie as far out as the `k / share` nearest of all. Lists within a distance grow
/// slower than rows do; the root has held in measurements.
fn wider(probes: usize, share: f64) -> usize {
    (probes as f64 / share.max(1e-9).sqrt()).ceil() as usize
}

/// The answers to some queries and their cost.
type Answers = (Vec<Vec<Hit>>, Stats);

/// How the queries of one request are answered.
struct Plan<'a> {
    k: usize,
    /// Rows ranked again for each answer.
    rerank: usize,
    /// Lists visited.
    probes: NonZeroUsize,
    filter: Filter<'a>,
    /// Whether so few rows pass that they are looked at in place of lists.
    few: bool,
    /// Tells which rows of visited lists may be found; all, without.
    sieve: Option<Sieve<'a>>,
    /// All rows that pass, where the codes of rows can be read alone: looked at in place of lists if they are few, and where lists give too few.
    rows: OnceLock<Cow<'a, [u32]>>,
    /// Their places, where they cannot.
    places: OnceLock<Vec<u32>>,
}

/// Whether residuals of codes become distances by a term a row, should lists be those of a product.
fn residual_distances(spec: &ListsSpec, metric: Metric) -> bool {
    metric == Metric::L2 && spec.cells.as_ref().is_some_and(|cells| cells.residual)
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
        let mut bits = Vec::new();
        let plan = self.plan(request, &mut bits);
        let fetch = plan.k.saturating_mul(plan.rerank).min(self.len());
        let most = (HELD / fetch).clamp(1, TOGETHER);
        let block = queries.len().div_ceil(rayon::current_num_threads()).clamp(1, most);
        let answers: Result<Vec<Answers>, SearchError> = queries
            .as_slice()
            .par_chunks(block * self.dim)
            .map(|queries| self.answer(Rows::new(queries, self.dim).expect("whole queries"), &plan))
            .collect();
        let mut stats = Stats::default();
        for (lists, cost) in answers? {
            lists.into_iter().for_each(|list| hits.push(list));
            stats += cost;
        }
        Ok(stats)
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = vec![Part::new(PartKind::Code, &self.trained)];
        parts.extend(self.coarse.iter().flat_map(Coarse::parts));
        parts.extend([
            Part::new(PartKind::ListStarts, &self.places.starts[..]),
            Part::new(PartKind::ListIds, &self.places.ids[..]),
            Part::new(PartKind::ListCodes, &self.places.codes[..]),
        ]);
        parts
            .extend(self.places.offsets.iter().map(|offsets| Part::new(PartKind::ListOffsets, &offsets[..])));
        parts.extend(self.terms.iter().map(|terms| Part::new(PartKind::ListTerms, &terms[..])));
        parts.extend(self.finer.iter().flat_map(Finer::parts));
        parts
    }

    fn keeps_vectors(&self) -> bool {
        self.codes_are_rows() || self.finer.as_ref().is_some_and(|finer| finer.rows().is_some())
    }

    fn vectors(&self) -> Option<Vec<f32>> {
        if let Some(rows) = self.finer.as_ref().and_then(Finer::rows) {
            return rows.unpadded(self.places.ids.iter().copied());
        }
        if !self.codes_are_rows() {
            return None;
        }
        let mut values = vec![0.0; self.len() * self.dim];
        let codes = self.places.codes.chunks_exact(self.codec.code_len());
        for (&id, code) in self.places.ids.iter().zip(codes) {
            self.codec.decode(code, values.chunks_exact_mut(self.dim).nth(id as usize)?);
        }
        Some(values)
    }
}
