//! What reading the readers and fuzzing them found: small files that asked for much. Each of `hostile/` is read as the
//! format that its name says; the others are made here, where their making shows what is wrong with them.

use deepembed_data::vectors::{Format, GroundTruth, RangeTruth, Select, VectorFile, VectorFileError};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Slowest of these files, with room for a busy machine.
const SLOW: Duration = Duration::from_secs(20);

fn read(format: Format, bytes: Vec<u8>) -> Result<Vec<u8>, VectorFileError> {
    let select = Select { format: Some(format), part: None };
    let file = VectorFile::from_bytes("found", bytes, &select)?;
    let _ = file.borrowed(0..file.len().min(64));
    let _ = file.read(0..file.len().min(64));
    let _ = file.read_ids(0..file.len().min(64));
    file.read_bytes(0..file.len().min(64))
}

#[test]
fn files_that_were_found_are_read_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let start = Instant::now();
        match Format::of(&path) {
            Some(format) => drop(read(format, bytes)),
            None => {
                let _ = GroundTruth::from_bytes("found", bytes.clone());
                let _ = RangeTruth::from_bytes("found", bytes);
            }
        }
        assert!(start.elapsed() < SLOW, "{}", path.display());
        seen += 1;
    }
    assert!(seen > 0);
}

/// An HDF5 file in the making: addresses are places in `bytes`.
struct Hdf5 {
    bytes: Vec<u8>,
}

impl Hdf5 {
    /// A superblock of version 0 whose root group has `messages` of symbol tables; what they point to follows.
    fn new(tables: usize) -> Self {
        let mut bytes = b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0\x04\0\x10\0\0\0\0\0".to_vec();
        let root = 96u64;
        // Base, free space, end, driver, name of the root, header of the root.
        for address in [0, u64::MAX, u64::MAX, u64::MAX, 0, root] {
            bytes.extend(address.to_le_bytes());
        }
        bytes.resize(root as usize, 0);
        // An object header of version 1: messages, references, size, a gap.
        bytes.extend([1, 0]);
        bytes.extend((tables as u16).to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend((tables as u32 * 24).to_le_bytes());
        bytes.extend([0; 4]);
        // Symbol table: the tree, then the names.
        let tree = root + 16 + tables as u64 * 24;
        for _ in 0..tables {
            bytes.extend([0x11, 0, 16, 0, 0, 0, 0, 0]);
            bytes.extend(tree.to_le_bytes());
            bytes.extend(0u64.to_le_bytes());
        }
        Self { bytes }
    }

    /// Appends a tree of one level whose `leaves` are all the block of symbols that follows it.
    fn tree(&mut self, leaves: u16) {
        let symbols = self.bytes.len() as u64 + 24 + 8 + u64::from(leaves) * 16;
        self.bytes.extend(b"TREE\0\0");
        self.bytes.extend(leaves.to_le_bytes());
        self.bytes.extend([0xff; 16]);
        self.bytes.extend([0; 8]);
        for _ in 0..leaves {
            self.bytes.extend(symbols.to_le_bytes());
            self.bytes.extend([0; 8]);
        }
    }

    /// Appends a block of symbols whose names start at `names` of the table.
    fn symbols(&mut self, names: &[u64]) {
        self.bytes.extend(b"SNOD\x01\0");
        self.bytes.extend((names.len() as u16).to_le_bytes());
        for name in names {
            self.bytes.extend(name.to_le_bytes());
            self.bytes.extend([0; 32]);
        }
    }

    /// Appends the table of names and points the root's messages to it.
    fn names(mut self, text: &[u8], tables: usize) -> Vec<u8> {
        let heap = self.bytes.len() as u64;
        self.bytes.extend(b"HEAP\0\0\0\0");
        self.bytes.extend((text.len() as u64).to_le_bytes());
        self.bytes.extend([0xff; 8]);
        self.bytes.extend((heap + 32).to_le_bytes());
        self.bytes.extend(text);
        for table in 0..tables {
            let place = 96 + 16 + table * 24 + 16;
            self.bytes[place..place + 8].copy_from_slice(&heap.to_le_bytes());
        }
        self.bytes
    }
}

#[test]
fn a_group_of_hdf5_is_as_large_as_its_file() {
    // The making is sound: one name is found.
    let mut sound = Hdf5::new(1);
    sound.tree(1);
    sound.symbols(&[0]);
    let error = read(Format::Hdf5, sound.names(b"train\0", 1)).unwrap_err().to_string();
    assert!(error.contains("the object header at byte 0 is damaged"), "{error}");
    // Each table of names would be read whole: 1,000 times 20 MB.
    let mut many = Hdf5::new(1000);
    many.tree(1);
    many.symbols(&[0]);
    let start = Instant::now();
    let error = read(Format::Hdf5, many.names(&vec![0; 20_000_000], 1000)).unwrap_err().to_string();
    assert!(error.contains("the group at byte 96 is damaged"), "{error}");
    // One block of symbols 60,000 times: four thousand million symbols in 4 MB.
    let mut again = Hdf5::new(1);
    again.tree(60_000);
    again.symbols(&[0; 60_000]);
    let error = read(Format::Hdf5, again.names(b"a\0", 1)).unwrap_err().to_string();
    assert!(error.contains("the symbols at byte"), "{error}");
    // Names that are ends of each other: 60,000 of 30,000 bytes on average in 3 MB.
    let mut long = Hdf5::new(1);
    long.tree(1);
    long.symbols(&(0..60_000).collect::<Vec<u64>>());
    let mut text = vec![b'a'; 60_000];
    text.push(0);
    let error = read(Format::Hdf5, long.names(&text, 1)).unwrap_err().to_string();
    assert!(error.contains("the symbols at byte"), "{error}");
    assert!(start.elapsed() < SLOW);
}

#[test]
fn metadata_of_safetensors_are_not_parsed() {
    // Parsed into values, each of the 8,000,000 noughts would take 32 bytes.
    let noughts = "0,".repeat(8_000_000);
    let header = format!(
        "{{\"__metadata__\":{{\"a\":[{noughts}0]}},\"v\":{{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]}}}}"
    );
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(1.5f32.to_le_bytes());
    assert_eq!(read(Format::Safetensors, bytes).unwrap(), 1.5f32.to_le_bytes());
}

#[cfg(feature = "arrow")]
#[test]
fn packed_buffers_of_arrow_say_what_they_can_hold() {
    let sound =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/vectors/lz4.feather")).unwrap();
    let frames: Vec<usize> =
        (8..sound.len() - 4).filter(|&at| sound[at..at + 4] == [0x04, 0x22, 0x4d, 0x18]).collect();
    assert!(frames.len() > 3, "{frames:?}");
    for frame in frames {
        let mut bytes = sound.clone();
        bytes[frame - 8..frame].copy_from_slice(&(1u64 << 30).to_le_bytes());
        let error = read(Format::Arrow, bytes).unwrap_err().to_string();
        assert!(error.contains("says it unpacks to 1073741824 bytes"), "{error}");
    }
}
