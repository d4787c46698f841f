//! The data check on planted faults, and on the built-in set.

mod common;

use common::{picture, png, put};
use deepembed_data::{Dataset, Leak, Split, check};
use image::{DynamicImage, ImageFormat, codecs::jpeg::JpegEncoder};
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::tempdir;

fn silent(_done: usize, _all: usize) {}

#[test]
fn clean_data_is_ok() {
    let folder = tempdir().unwrap();
    for (seed, path) in ["train/a/1.png", "train/a/2.png", "test/b/3.png", "test/b/4.png"].iter().enumerate()
    {
        put(folder.path(), path, &png(seed as u32));
    }
    let data = Dataset::open(folder.path()).unwrap();
    let calls = AtomicUsize::new(0);
    let report = check(&data, &|done, all| {
        assert!(done <= all && all == 4);
        calls.fetch_add(1, Ordering::Relaxed);
    });
    assert!(report.is_ok() && report.warnings().is_empty(), "{report:?}");
    assert_eq!(calls.into_inner(), 4);
    assert_eq!(
        report.splits.iter().map(|s| (s.split, s.pictures, s.classes)).collect::<Vec<_>>(),
        [(Split::Train, 2, 1), (Split::Test, 2, 1)]
    );
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<deepembed_data::DataReport>(&json).unwrap(), report);
}

#[test]
fn leaks_are_found() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    put(root, "train/a/1.png", &png(1));
    put(root, "test/a/2.png", &png(2));
    put(root, "train/b/3.png", &png(3));
    put(root, "test/c/3.png", &png(3));
    let report = check(&Dataset::open(root).unwrap(), &silent);
    let both = vec![Split::Train, Split::Test];
    assert_eq!(
        report.leaks(),
        [
            Leak::Class { class: "a".to_owned(), splits: both.clone() },
            Leak::Picture {
                paths: vec!["test/c/3.png".to_owned(), "train/b/3.png".to_owned()],
                splits: both
            },
        ]
    );
    assert_eq!(report.leaks()[0].to_string(), "class `a` is in train and test");
    assert!(!report.is_ok());
    assert_eq!(report.lonely, ["b", "c"]);
    assert!(report.warnings().iter().any(|line| line.contains("has the classes b, c")));
}

#[test]
fn broken_pictures_are_listed_and_do_not_stop_the_check() {
    let folder = tempdir().unwrap();
    put(folder.path(), "a/1.png", &png(1));
    put(folder.path(), "b/2.png", &png(2)[..60]);
    put(folder.path(), "b/3.png", b"");
    let report = check(&Dataset::open(folder.path()).unwrap(), &silent);
    let paths: Vec<&str> = report.unreadable.iter().map(|broken| broken.path.as_str()).collect();
    assert_eq!(paths, ["b/2.png", "b/3.png"]);
    assert!(report.unreadable[1].reason.contains("not a JPEG"));
    assert!(!report.is_ok() && report.leaks().is_empty());
}

#[test]
fn a_picture_saved_again_is_a_near_duplicate() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let original =
        image::load_from_memory(&png(5)).unwrap().resize(160, 160, image::imageops::FilterType::Triangle);
    let save = |picture: &DynamicImage, quality| {
        let mut bytes = Vec::new();
        picture.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, quality)).unwrap();
        bytes
    };
    put(root, "train/a/1.jpg", &save(&original, 95));
    put(root, "test/b/1.jpg", &save(&original, 80));
    put(root, "test/b/2.jpg", &save(&original.fliph(), 80));
    let report = check(&Dataset::open(root).unwrap(), &silent);
    assert_eq!(report.near_duplicates.len(), 1, "{:?}", report.near_duplicates);
    let near = &report.near_duplicates[0];
    assert_eq!((near.first.as_str(), near.second.as_str()), ("test/b/1.jpg", "train/a/1.jpg"));
    // Near duplicates are a matter of judgement: a warning, not a leak.
    assert!(report.is_ok());
    assert!(report.warnings()[0].contains("look the same"));
}

#[test]
fn blank_pictures_that_differ_in_one_spot_are_not_duplicates() {
    let folder = tempdir().unwrap();
    let spot = |colour: [u8; 3]| {
        let picture = image::ImageBuffer::from_fn(64, 64, |x, y| {
            image::Rgb(if (28..36).contains(&x) && (28..36).contains(&y) { colour } else { [255; 3] })
        });
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    };
    put(folder.path(), "a/1.png", &spot([0, 160, 0]));
    put(folder.path(), "b/1.png", &spot([160, 60, 60]));
    let report = check(&Dataset::open(folder.path()).unwrap(), &silent);
    assert_eq!(report.near_duplicates, []);
}

#[test]
fn one_picture_in_two_formats_is_a_near_duplicate() {
    let folder = tempdir().unwrap();
    put(folder.path(), "a/1.png", &png(7));
    put(folder.path(), "b/1.bmp", &picture(7, ImageFormat::Bmp));
    let report = check(&Dataset::open(folder.path()).unwrap(), &silent);
    assert_eq!((report.near_duplicates.len(), report.near_duplicates[0].difference), (1, 0.0));
}

#[test]
fn the_built_in_set_does_not_leak() {
    let report = check(&Dataset::emoji().unwrap(), &silent);
    assert_eq!(report.leaks(), []);
    assert!(report.is_ok());
    assert_eq!(report.cameras.values().copied().collect::<Vec<_>>(), [1561; 4]);
    // Fluent and Noto draw some emoji alike; each group is within one split. builtin/README.md states the counts.
    assert_eq!((report.duplicates.len(), report.near_duplicates.len()), (12, 11));
    let apart = report.near_duplicates.iter().filter(|near| near.splits[0] != near.splits[1]).count();
    assert_eq!(apart, 6);
}

#[test]
fn the_report_does_not_depend_on_the_number_of_threads() {
    let data = Dataset::emoji().unwrap();
    let report = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| check(&data, &silent))
    };
    assert_eq!(report(1), report(5));
}
