//! Rows at random, or rows whose names hold some words.

use crate::ask::{Ask, Pairs};
use crate::problem::Problem;
use crate::state::{Item, State};
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use data::Record;
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Page<'a> {
    /// Rows that could be shown.
    total: usize,
    items: Vec<Item<'a>>,
}

/// `GET /api/browse`.
pub(crate) async fn browse(Shared(state): Shared<Arc<State>>, pairs: Pairs) -> Result<Response, Problem> {
    let ask = Ask::browse(&state, pairs)?;
    state.work(move |state| Ok(choose(state, &ask))).await
}

fn choose(state: &State, ask: &Ask) -> Response {
    let records = &state.app.records;
    let rows = (0..records.len()).filter(|&row| ask.passes(state, row));
    let (total, chosen) = if ask.words.is_empty() {
        let rows: Vec<usize> = rows.collect();
        (rows.len(), sample(rows, ask.rows, ask.seed))
    } else {
        let mut found: Vec<(u8, usize)> =
            rows.filter_map(|row| Some((rank(&records[row], &ask.words)?, row))).collect();
        found.sort_unstable();
        (found.len(), found.into_iter().take(ask.rows).map(|(_, row)| row).collect())
    };
    let items = chosen.into_iter().map(|row| state.item(row, None)).collect();
    axum::Json(Page { total, items }).into_response()
}

/// How well a row answers to words, all of which it must hold: 0 where its class is those words, 1 where
/// its class holds them, 2 where its text helps, 3 where its path does.
fn rank(record: &Record, words: &[String]) -> Option<u8> {
    let class = record.class.to_lowercase();
    if class.split_whitespace().eq(words.iter().map(String::as_str)) {
        return Some(0);
    }
    let mut names = vec![class];
    let later = [record.text.as_deref(), Some(&record.path)];
    let holds = |names: &[String], word: &String| names.iter().any(|name| name.contains(word.as_str()));
    for rank in 1..=3 {
        if words.iter().all(|word| holds(&names, word)) {
            return Some(rank);
        }
        names.extend(later.get(usize::from(rank) - 1).copied().flatten().map(str::to_lowercase));
    }
    None
}

/// `count` of `rows` in random order, by the first steps of a Fisher-Yates shuffle.
fn sample(mut rows: Vec<usize>, count: usize, seed: u64) -> Vec<usize> {
    let mut random = seed;
    let count = count.min(rows.len());
    for place in 0..count {
        let left = (rows.len() - place) as u128;
        // The high half of a product spreads 64 random bits over `left` places without division.
        let step = (u128::from(splitmix64(&mut random)) * left) >> 64;
        rows.swap(place, place + step as usize);
    }
    rows.truncate(count);
    rows
}

/// The next of a stream of 64-bit numbers. Source: Steele, Lea and Flood, OOPSLA 2014.
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_matches_come_first() {
        let record = Record {
            path: "noto/1f431.png".into(),
            class: "Cat face".into(),
            category: None,
            camera: None,
            text: Some("a whiskered animal".into()),
        };
        let rank = |words: &str| rank(&record, &words.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(rank("cat face"), Some(0));
        assert_eq!(rank("cat"), Some(1));
        assert_eq!(rank("whisker cat"), Some(2));
        assert_eq!(rank("1f431 cat animal"), Some(3));
        assert_eq!(rank("cat dog"), None);
    }

    #[test]
    fn samples_are_distinct_seeded_and_spread() {
        let all: Vec<usize> = (0..10).collect();
        let mut first = sample(all.clone(), 10, 7);
        assert_eq!(first, sample(all.clone(), 10, 7));
        assert_ne!(first, sample(all.clone(), 10, 8));
        first.sort_unstable();
        assert_eq!(first, all);
        assert_eq!(sample(all.clone(), 99, 1).len(), 10);
        let mut seen = [0; 10];
        (0..5000).for_each(|seed| seen[sample(all.clone(), 1, seed)[0]] += 1);
        // 500 expected each; six standard deviations are 6 sqrt(5000 x 0.1 x 0.9) = 127.
        assert!(seen.iter().all(|&count: &i32| (count - 500).abs() < 127), "{seen:?}");
    }

    #[test]
    fn splitmix64_gives_its_published_stream() {
        let mut state = 1_234_567;
        let want = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(want.map(|_: u64| splitmix64(&mut state)), want);
    }
}
