//! Pictures and tables that are wrong: one line that names the place, and nothing left behind.

use crate::common::{SMALL, bad, deepembed, fresh, good, json, one_error, picture, pictures};
use crate::words;
use std::fs;
use std::path::Path;

/// Checking and training must both refuse `data`; the run folder must not come to be.
fn refused(code: i32, words: &[&str], data: &Path) {
    let said = deepembed(words!["data", "check", data, "--quiet"]);
    assert_eq!(said.code, code, "{}", said.err);
    one_error(&said.err, words);
    let folder = fresh();
    let out = folder.path().join("run");
    let arguments = words!["train", "metric", "-c", "quick", "--data", data, "--out", &out];
    bad(code, words, arguments.into_iter().chain(SMALL.map(Into::into)));
    assert!(!out.exists(), "no run was begun");
}

#[test]
fn no_pictures() {
    let folder = fresh();
    fs::write(folder.path().join("notes.txt"), "hello").unwrap();
    refused(1, &["holds no pictures (1 other files)", "one folder a class"], folder.path());
    refused(1, &["nowhere"], &folder.path().join("nowhere"));
    refused(1, &["notes.txt is not a dataset", "folder of class folders"], &folder.path().join("notes.txt"));
}

#[test]
fn one_class() {
    let folder = fresh();
    let data = pictures(folder.path(), 1, 3);
    refused(1, &["only the class `class00`", "at least two classes"], &data);
}

#[test]
fn too_few_classes_to_train_on() {
    let folder = fresh();
    let data = pictures(folder.path(), 2, 3);
    let out = folder.path().join("run");
    let arguments = words!["train", "metric", "-c", "quick", "--data", &data, "--out", &out];
    bad(1, &["the train split has 1 classes", "--split"], arguments);
    assert!(!out.exists());
}

#[test]
fn a_lonely_picture_is_counted_not_asked() {
    let folder = fresh();
    let data = pictures(folder.path(), 6, 3);
    let alone = data.join("hermit");
    fs::create_dir(&alone).unwrap();
    picture(7, 0).save(alone.join("0.png")).unwrap();
    let said = good(words!["data", "check", &data]);
    assert!(said.out.contains("1 classes have one picture, such as `hermit`"), "{}", said.out);
    let value = json(words!["eval", "--data", &data, "--model", "pixels"]);
    assert_eq!((value["queries"].as_u64(), value["dropped_queries"].as_u64()), (Some(18), Some(1)));
    let text = good(words!["eval", "--data", &data, "--model", "pixels"]).out;
    assert!(text.contains("1 "), "{text}");
}

#[test]
fn only_lonely_pictures_to_measure() {
    let folder = fresh();
    let data = pictures(folder.path(), 12, 3);
    let manifest = folder.path().join("list.csv");
    let mut text = "path,label,split\n".to_owned();
    for class in 0..12 {
        let (split, count) = if class < 8 { ("train", 3) } else { ("test", 1) };
        (0..count).for_each(|n| text += &format!("pictures/class{class:02}/{n}.png,{class},{split}\n"));
    }
    fs::write(&manifest, text).unwrap();
    let out = folder.path().join("run");
    let arguments = words!["train", "metric", "-c", "quick", "--data", &manifest, "--out", &out];
    bad(1, &["none of 4 queries"], arguments.into_iter().chain(SMALL.map(Into::into)));
    assert!(!out.exists() && data.exists(), "said before any training");
}

#[test]
fn nothing_to_measure() {
    let folder = fresh();
    pictures(folder.path(), 6, 3);
    let manifest = folder.path().join("list.csv");
    let rows: String =
        (0..18).map(|i| format!("pictures/class{:02}/{}.png,{},train\n", i / 3, i % 3, i / 3)).collect();
    fs::write(&manifest, format!("path,label,split\n{rows}")).unwrap();
    let out = folder.path().join("run");
    let arguments = words!["train", "metric", "-c", "quick", "--data", &manifest, "--out", &out];
    bad(
        1,
        &["list has no test pictures", "split column"],
        arguments.into_iter().chain(SMALL.map(Into::into)),
    );
    assert!(!out.exists(), "said before any training");
    bad(
        1,
        &["list has no validation pictures"],
        words!["eval", "--data", &manifest, "--split", "validation"],
    );
}

/// Replaces one picture by other bytes; every command that reads it must say which, with code 4.
fn a_broken_picture(name: &str, bytes: &[u8], words: &[&str]) {
    let folder = fresh();
    let data = pictures(folder.path(), 8, 3);
    fs::write(data.join("class03").join(name), bytes).unwrap();
    let mut words = words.to_vec();
    let shown = format!("class03/{name}");
    words.push(&shown);
    refused(4, &words, &data);
    for file in ["a.npy", "a.index"] {
        let out = folder.path().join(file);
        let command = if file == "a.npy" { words!["embed"] } else { words!["index", "build"] };
        bad(
            4,
            &words,
            command.into_iter().chain(words!["--data", &data, "--model", "pixels", "--out", &out]),
        );
        assert!(!out.exists());
    }
    bad(4, &words, words!["eval", "--data", &data, "--model", "pixels"]);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["pictures"], "nothing half-written");
}

fn encoded(format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture(3, 9).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn a_cut_png() {
    let whole = encoded(image::ImageFormat::Png);
    a_broken_picture("cut.png", &whole[..whole.len() / 2], &["damaged or cut short", "remove"]);
}

#[test]
fn a_cut_jpeg() {
    let whole = encoded(image::ImageFormat::Jpeg);
    a_broken_picture("cut.jpg", &whole[..whole.len() * 3 / 4], &["damaged or cut short", "remove"]);
}

#[test]
fn a_text_that_says_it_is_a_picture() {
    a_broken_picture("text.webp", b"no picture at all", &["not a JPEG, PNG", "remove"]);
    a_broken_picture("empty.gif", b"", &["not a JPEG, PNG", "remove"]);
}

/// CRC-32 of PNG chunks (ISO 3309), bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ (0xedb8_8320 * (crc & 1)))
    })
}

#[test]
fn a_header_that_asks_for_all_memory() {
    let mut header = b"IHDR".to_vec();
    header.extend(60_000u32.to_be_bytes());
    header.extend(60_000u32.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0d".to_vec();
    png.extend(&header);
    png.extend(crc(&header).to_be_bytes());
    png.extend(b"\x00\x00\x00\x00IDAT\x35\xaf\x06\x1e\x00\x00\x00\x00IEND\xae\x42\x60\x82");
    a_broken_picture("bomb.png", &png, &["60000 x 60000", "smaller"]);
}

#[cfg(unix)]
#[test]
fn names_that_are_not_text() {
    use std::os::unix::ffi::OsStrExt;
    let folder = fresh();
    let data = pictures(folder.path(), 4, 2);
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.png");
    fs::copy(data.join("class00/0.png"), data.join("class01").join(name)).unwrap();
    refused(1, &["class01/caf\u{fffd}.png", "not UTF-8", "rename"], &data);
    fs::remove_file(data.join("class01").join(name)).unwrap();

    // A place whose name is not text can be looked at.
    let place = folder.path().join(std::ffi::OsStr::from_bytes(b"\xe9t\xe9"));
    fs::rename(&data, &place).unwrap();
    assert_eq!(json(words!["data", "check", &place])["pictures"], 8);
    let to = folder.path().join("to");
    bad(1, &["not UTF-8", "rename"], words!["data", "import", &place, &to]);
    assert!(!to.join("manifest.csv").exists());
    bad(1, &["nothing\u{fffd}"], words!["data", "check", std::ffi::OsStr::from_bytes(b"nothing\xe9")]);
}

/// A CSV beside two classes of two pictures.
fn table(text: &str) -> tempfile::TempDir {
    let folder = fresh();
    pictures(folder.path(), 2, 2);
    fs::write(folder.path().join("list.csv"), text).unwrap();
    folder
}

#[test]
fn tables_name_the_row_and_the_column() {
    let rows = "pictures/class00/0.png,a,train\npictures/class01/0.png,b,test\n";
    let cases: [(String, &[&str]); 9] = [
        (format!("path,class,split\n{rows}"), &["list.csv: no column `label`", "found: path, class, split"]),
        (
            format!("path,label,split\n{rows}pictures/class00/1.png,a,tset\n"),
            &["list.csv row 4: `tset` is not a split", "write train"],
        ),
        (
            format!("path,label,split\n{rows}pictures/gone.png,a,train\n"),
            &["list.csv row 4: there is no file", "pictures/gone.png", "relative to the manifest"],
        ),
        (
            format!("path,label,split\n{rows}pictures/class00/0.png,a,train\n"),
            &["list.csv row 4: pictures/class00/0.png is listed in row 2"],
        ),
        (
            format!("path,label,split\n{rows}pictures/class00/1.png,,train\n"),
            &["list.csv row 4: `label` is empty"],
        ),
        (format!("path,label,split\n{rows}pictures/class00/1.png,a\n"), &["list.csv:", "line: 4"]),
        ("path,label,split\n".to_owned(), &["list.csv: no rows after the header"]),
        (String::new(), &["list.csv: no column `path`"]),
        (
            "path,label,hash\npictures/class00/0.png,a,12\n".to_owned(),
            &["list.csv row 2: `hash` is `12`", "64 hexadecimal digits"],
        ),
    ];
    for (text, words) in cases {
        let folder = table(&text);
        refused(1, words, &folder.path().join("list.csv"));
    }
}

#[test]
fn a_picture_that_changed_since_the_import() {
    let folder = fresh();
    let data = pictures(folder.path(), 12, 3);
    let to = folder.path().join("to");
    good(words!["data", "import", &data, &to]);
    picture(5, 8).save(data.join("class02/1.png")).unwrap();
    refused(4, &["class02/1.png", "changed since the manifest was written"], &to);
}

#[test]
fn a_class_in_two_splits_is_a_leak() {
    let folder = table(
        "path,label,split\npictures/class00/0.png,a,train\npictures/class00/1.png,a,test\n\
         pictures/class01/0.png,b,train\npictures/class01/1.png,b,train\n",
    );
    refused(5, &["1 leaks", "class `a` is in train and test"], &folder.path().join("list.csv"));
}

#[test]
fn a_picture_in_two_splits_is_a_leak() {
    let folder = table(
        "path,label,split\npictures/class00/0.png,a,train\npictures/class00/1.png,a,train\n\
         pictures/class01/0.png,b,test\ncopy.png,b,test\n",
    );
    fs::copy(folder.path().join("pictures/class00/1.png"), folder.path().join("copy.png")).unwrap();
    refused(5, &["1 leaks", "one picture is in train and test", "copy.png"], &folder.path().join("list.csv"));
}

#[test]
fn a_cut_archive() {
    let folder = fresh();
    let tar = folder.path().join("pictures.tar");
    fs::write(&tar, [0x41; 700]).unwrap();
    refused(1, &["pictures.tar", "not a whole tar"], &tar);
}
