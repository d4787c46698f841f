#![no_main]

//! Opens, verifies, searches and changes index files. The last byte says whether their hashes are made to match, so that
//! what lies behind them is reached too.

use data::{Hits, Rows};
use deepembed_fuzz::seal::seal;
use index::{Filter, Request, Watch, Writer};
use libfuzzer_sys::fuzz_target;
use std::num::NonZeroUsize;

/// Most values that are searched with or added.
const DIM: usize = 1 << 12;

fuzz_target!(|bytes: &[u8]| {
    let Some((&last, bytes)) = bytes.split_last() else { return };
    let mut bytes = bytes.to_vec();
    if last & 1 == 1 {
        seal(&mut bytes);
    }
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &bytes).expect("it can be written");
    let Ok(opened) = index::open(file.path()) else { return };
    let _ = opened.payload();
    let index = &*opened.index;
    if index.dim() > DIM {
        return;
    }
    let query = vec![0.5; index.dim()];
    let query = Rows::new(&query, index.dim()).expect("one row");
    for filter in [Filter::All, Filter::When(&|id| id % 2 == 0), Filter::Ids(&[1, 3, 9])] {
        let request = Request { filter, ..Request::top(NonZeroUsize::new(5).expect("five")) };
        let mut hits = Hits::default();
        if index.search(query, &request, &mut hits).is_ok() {
            assert!(hits.iter().flatten().all(|hit| filter.passes(hit.id)));
        }
    }
    let whole = index::verify(file.path()).is_ok();
    let Ok(mut writer) = Writer::open(file.path()) else { return };
    writer.remove(&[0, 2, u64::MAX]);
    let _ = writer.update(&[1], query);
    if writer.commit(&Watch::none()).is_ok() {
        assert!(writer.contains(1));
        assert!(!whole || index::verify(file.path()).is_ok());
    }
    let _ = writer.compact(&Watch::none());
});
