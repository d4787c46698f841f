//! Every layout, and what is said when one is wrong.

mod common;

use common::{png, put, tar};
use deepembed_data::{Dataset, DatasetError, Image, ImportOptions, Split, import};
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use tempfile::tempdir;

fn message(result: Result<Dataset, DatasetError>) -> String {
    let message = result.unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

/// Opens a folder with two pictures, `a.png` and `b.png`, and this manifest.
fn with_manifest(manifest: &str) -> Result<Dataset, DatasetError> {
    let folder = tempdir().unwrap();
    put(folder.path(), "a.png", &png(1));
    put(folder.path(), "b.png", &png(2));
    put(folder.path(), "manifest.csv", manifest.as_bytes());
    Dataset::open(folder.path())
}

#[test]
fn folders_are_classes() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    put(root, "b/2.png", &png(2));
    put(root, "b/deep/er/1.PNG", &png(1));
    put(root, "a/3.jpeg", &common::picture(3, image::ImageFormat::Jpeg));
    put(root, "a/notes.txt", b"not a picture");
    put(root, "stray.png", &png(4));
    put(root, ".cache/x.png", &png(5));
    let data = Dataset::open(root).unwrap();
    assert_eq!(data.classes, ["a", "b"]);
    let paths: Vec<&str> = data.items.iter().map(|item| item.path.as_str()).collect();
    assert_eq!(paths, ["a/3.jpeg", "b/2.png", "b/deep/er/1.PNG"]);
    // notes.txt is no picture; stray.png has no class.
    assert_eq!((data.ignored, data.has_splits), (2, false));
    assert_eq!(data.image(1).unwrap(), Image { width: 16, height: 16, ..data.image(1).unwrap() });
    assert_eq!((data.class(2), data.of(Split::Train)), ("b", vec![0, 1, 2]));
}

#[test]
fn folders_named_after_splits_are_splits() {
    let folder = tempdir().unwrap();
    for (seed, path) in
        ["train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "test/dog/4.png"].iter().enumerate()
    {
        put(folder.path(), path, &png(seed as u32));
    }
    let data = Dataset::open(folder.path()).unwrap();
    assert_eq!(data.classes, ["cat", "dog"]);
    assert!(data.has_splits);
    assert_eq!(Split::ALL.map(|split| data.of(split).len()), [2, 1, 1]);
}

#[test]
fn a_manifest_states_everything() {
    let data = with_manifest(
        "label,path,text,split,is_query,is_gallery,camera,family,category,unknown\n\
         pear,a.png,\"a green, ripe pear\",val,true,false,left,one,fruit,x\n\
         apple,b.png,,test,0,1,,,,\n",
    )
    .unwrap();
    assert_eq!(data.classes, ["apple", "pear"]);
    let pear = &data.items[0];
    assert_eq!((pear.label, pear.split, pear.is_query, pear.is_gallery), (1, Split::Validation, true, false));
    assert_eq!(pear.text.as_deref(), Some("a green, ripe pear"));
    assert_eq!(
        [&pear.camera, &pear.family, &pear.category].map(|cell| cell.as_deref().unwrap()),
        ["left", "one", "fruit"]
    );
    let apple = &data.items[1];
    assert_eq!((apple.is_query, apple.is_gallery, &apple.text, &apple.hash), (false, true, &None, &None));
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_column() {
    assert!(with_manifest("\u{feff}path,label\na.png,x\nb.png,y\n").is_ok());
}

#[test]
fn wrong_manifests_name_the_row() {
    let cases = [
        ("path,name\na.png,x\n", "no column `label`"),
        ("path,label,label\na.png,x,y\n", "`label` is there twice"),
        ("path,label\n", "no rows after the header"),
        ("path,label\na.png,x\nb.png\n", "line: 3"),
        ("path,label\na.png,x\nb.png,\n", "row 3: `label` is empty"),
        ("path,label\na.png,x\na.png,y\n", "row 3: a.png is listed in row 2 already"),
        ("path,label\na.png,x\nc.png,y\n", "row 3: there is no file"),
        ("path,label,split\na.png,x,train\nb.png,y,dev\n", "row 3: `dev` is not a split"),
        ("path,label,split\na.png,x,\n", "row 2: `split` is empty"),
        ("path,label,is_query\na.png,x,maybe\n", "row 2: `is_query` is `maybe`"),
        ("path,label,hash\na.png,x,123\n", "row 2: `hash` is `123`"),
        ("path,label\na.png,x\nb.png,x\n", "only the class `x`"),
    ];
    for (manifest, want) in cases {
        let message = message(with_manifest(manifest));
        assert!(
            message.contains(want) && message.contains("manifest.csv") | want.contains("class"),
            "{message}"
        );
    }
    let folder = tempdir().unwrap();
    put(folder.path(), "latin.csv", b"path,label\ncaf\xe9.png,x\n");
    assert!(message(Dataset::open(&folder.path().join("latin.csv"))).contains("UTF-8"));
}

#[test]
fn wrong_places_say_what_to_give() {
    let folder = tempdir().unwrap();
    assert!(message(Dataset::open(folder.path())).contains("holds no pictures (0 other files); put jpg"));
    put(folder.path(), "only/1.png", &png(1));
    assert!(message(Dataset::open(folder.path())).contains("only the class `only`"));
    put(folder.path(), "x.zip", b"PK");
    assert!(message(Dataset::open(&folder.path().join("x.zip"))).contains("give a folder of class folders"));
    assert!(message(Dataset::open(&folder.path().join("absent"))).contains("absent"));
}

#[cfg(unix)]
#[test]
fn names_that_are_not_text_and_endless_links_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempdir().unwrap();
    put(folder.path(), "a/1.png", &png(1));
    std::os::unix::fs::symlink(folder.path(), folder.path().join("a/again")).unwrap();
    assert!(message(Dataset::open(folder.path())).contains("more than 16 deep"));
    fs::remove_file(folder.path().join("a/again")).unwrap();
    fs::write(folder.path().join("a").join(std::ffi::OsStr::from_bytes(b"caf\xe9.png")), png(2)).unwrap();
    let message = message(Dataset::open(folder.path()));
    assert!(message.contains("caf\u{fffd}.png") && message.contains("not UTF-8"), "{message}");
}

#[test]
fn a_tar_is_read_in_place() {
    let folder = tempdir().unwrap();
    let manifest = b"path,label\nx/1.png,a\nx/2.png,b\n";
    let (one, two) = (png(1), png(2));
    let whole = tar(&[("manifest.csv", manifest), ("x/1.png", &one), ("x/2.png", &two)]);
    put(folder.path(), "d.tar", &whole);
    let data = Dataset::open(&folder.path().join("d.tar")).unwrap();
    assert_eq!((data.name.as_str(), data.len()), ("d", 2));
    assert_eq!(data.bytes(1).unwrap(), two);
    assert_eq!(data.image(0).unwrap().width, 16);

    let within = whole.windows(two.len()).position(|bytes| bytes == two).unwrap() + 10;
    put(folder.path(), "cut.tar", &whole[..within]);
    assert!(message(Dataset::open(&folder.path().join("cut.tar"))).contains("not a whole tar"));
    put(folder.path(), "bare.tar", &tar(&[("x/1.png", &one)]));
    assert!(message(Dataset::open(&folder.path().join("bare.tar"))).contains("holds no manifest.csv"));
    put(folder.path(), "less.tar", &tar(&[("manifest.csv", manifest), ("x/1.png", &one)]));
    assert!(
        message(Dataset::open(&folder.path().join("less.tar")))
            .contains("row 3: the archive has no entry x/2.png")
    );
    put(folder.path(), "twice.tar", &tar(&[("x/1.png", &one), ("x/1.png", &one)]));
    assert!(message(Dataset::open(&folder.path().join("twice.tar"))).contains("holds x/1.png twice"));
}

#[test]
fn a_changed_picture_is_noticed() {
    let folder = tempdir().unwrap();
    put(folder.path(), "a/1.png", &png(1));
    put(folder.path(), "b/2.png", &png(2));
    let mut data = Dataset::open(folder.path()).unwrap();
    data.hash_contents().unwrap();
    data.write_manifest(&folder.path().join("manifest.csv")).unwrap();
    put(folder.path(), "a/1.png", &png(9));
    let data = Dataset::open(folder.path()).unwrap();
    let error = data.bytes(0).unwrap_err();
    assert!(matches!(&error, DatasetError::Changed { path, .. } if path == "a/1.png"), "{error}");
    assert!(data.bytes(1).is_ok());
    fs::remove_file(folder.path().join("b/2.png")).unwrap();
    assert!(data.bytes(1).unwrap_err().to_string().contains("2.png"));
}

#[test]
fn the_manifest_hash_is_of_content_not_of_place_or_order() {
    let folder = tempdir().unwrap();
    put(folder.path(), "a.png", &png(1));
    put(folder.path(), "b.png", &png(2));
    let hash = |manifest: &str| {
        put(folder.path(), "manifest.csv", manifest.as_bytes());
        Dataset::open(folder.path()).unwrap().manifest_hash().unwrap()
    };
    let first = hash("path,label\na.png,x\nb.png,y\n");
    assert_eq!(first.len(), 64);
    assert_eq!(first, hash("label,path,split\ny,b.png,train\nx,a.png,train\n"));
    assert_ne!(first, hash("path,label\na.png,x\nb.png,z\n"));
    assert_ne!(first, hash("path,label,split\na.png,x,train\nb.png,y,test\n"));
    put(folder.path(), "b.png", &png(3));
    assert_ne!(first, hash("path,label\na.png,x\nb.png,y\n"));
}

fn ten_classes(root: &Path) {
    for class in 0..10 {
        for shot in 0..2 {
            put(root, &format!("c{class}/{shot}.png"), &png(class * 2 + shot));
        }
    }
}

#[test]
fn import_fixes_splits_and_content() {
    let from = tempdir().unwrap();
    ten_classes(from.path());
    // The same file in two classes: both must land in one split.
    put(from.path(), "c0/same.png", &png(99));
    put(from.path(), "c7/same.png", &png(99));
    let to = tempdir().unwrap();
    for (name, copy) in [("linked", false), ("copied", true)] {
        let to = to.path().join(name);
        let data = import(from.path(), &to, &ImportOptions { copy, ..Default::default() }).unwrap();
        assert_eq!((data.classes.len(), data.len(), data.has_splits), (10, 22, true));
        assert!(data.items.iter().all(|item| item.hash.is_some()));
        assert_eq!(data.items.iter().all(|item| item.path.starts_with("pictures/")), copy);
        let split = |class: &str| {
            data.items.iter().find(|item| data.classes[item.label as usize] == class).unwrap().split
        };
        assert_eq!(split("c0"), split("c7"));
        assert!(data.of(Split::Train).len() > data.of(Split::Test).len());
        (0..data.len()).for_each(|i| assert_eq!(data.image(i).unwrap().width, 16));
        let again = import(from.path(), &to, &ImportOptions::default());
        assert!(message(again).contains("exists already"));
    }
}

#[test]
fn import_unpacks_a_tar_and_keeps_its_splits() {
    let folder = tempdir().unwrap();
    let (one, two) = (png(1), png(2));
    let manifest = b"path,label,split,text\nx/1.png,a,train,\"one, two\"\n../2.png,b,test,\n";
    let bytes = {
        // An entry that would lead out of the folder if it were unpacked by name.
        let mut archive = tar(&[("manifest.csv", manifest), ("x/1.png", &one), ("xx/2.png", &two)]);
        let at = archive.windows(8).position(|name| name == b"xx/2.png").unwrap();
        archive[at..at + 8].copy_from_slice(b"../2.png");
        let sum: u32 = 0; // the checksum is of bytes, so it must follow the new name
        let header = &mut archive[at..at + 512];
        header[148..156].fill(b' ');
        let sum = header.iter().fold(sum, |sum, &byte| sum + u32::from(byte));
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive
    };
    put(folder.path(), "d.tar", &bytes);
    let to = folder.path().join("new");
    let data = import(&folder.path().join("d.tar"), &to, &ImportOptions::default()).unwrap();
    assert_eq!(data.items[1].path, "pictures/0000001.png");
    assert_eq!((data.items[0].split, data.items[1].split), (Split::Train, Split::Test));
    assert_eq!(data.items[0].text.as_deref(), Some("one, two"));
    assert_eq!(data.bytes(1).unwrap(), two);
    assert!(!folder.path().join("2.png").exists());
}

proptest! {
    #[test]
    fn hostile_tars_and_manifests_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        csv in "[a-z.,\"\n\r\\x00é]{0,80}",
    ) {
        let folder = tempdir().unwrap();
        let mut bytes = tar(&[("manifest.csv", b"path,label\n1.png,a\n2.png,b\n"), ("1.png", b"x"), ("2.png", b"y")]);
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        put(folder.path(), "d.tar", &bytes);
        if let Ok(data) = Dataset::open(&folder.path().join("d.tar")) {
            for i in 0..data.len() {
                let _ = data.image(i);
            }
        }
        put(folder.path(), "d.csv", format!("path,label\n{csv}").as_bytes());
        let _ = Dataset::open(&folder.path().join("d.csv"));
    }
}
