//! The built-in set as shipped.

use deepembed_data::{Dataset, Split};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn every_emoji_is_drawn_once_by_each_of_four_designs() {
    let emoji = Dataset::emoji().unwrap();
    assert_eq!((emoji.classes.len(), emoji.len()), (1561, 6244));
    let mut cameras: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    let mut families = BTreeSet::new();
    for item in &emoji.items {
        let camera = item.camera.as_deref().unwrap();
        cameras.entry(camera).or_default().insert(item.label);
        families.insert((camera, item.family.as_deref().unwrap()));
        assert!(item.category.is_some() && item.text.is_some() && item.hash.is_some());
    }
    assert!(cameras.values().all(|classes| classes.len() == 1561));
    let want = [
        ("Fluent flat", "fluent"),
        ("Fluent high-contrast", "fluent"),
        ("Noto", "noto"),
        ("Twemoji", "twemoji"),
    ];
    assert_eq!(families, BTreeSet::from(want));
}

#[test]
fn no_class_is_in_two_splits() {
    let emoji = Dataset::emoji().unwrap();
    let classes = Split::ALL
        .map(|split| emoji.of(split).iter().map(|&i| emoji.items[i].label).collect::<BTreeSet<u32>>());
    assert_eq!(classes.iter().map(BTreeSet::len).sum::<usize>(), 1561);
    // 60, 10 and 30 % of 1,561; groups of classes that share a picture may shift a bound by one or two.
    for (classes, want) in classes.iter().zip([937, 156, 468]) {
        assert!(classes.len().abs_diff(want) <= 2, "{} classes, not about {want}", classes.len());
    }
}

#[test]
fn every_picture_decodes_and_has_the_stated_hash() {
    let emoji = Dataset::emoji().unwrap();
    for i in 0..emoji.len() {
        let image = emoji.image(i).unwrap();
        assert_eq!((image.width, image.height), (64, 64));
        assert!(image.pixels.iter().any(|&value| value < 250), "{} is blank", emoji.items[i].path);
    }
}
