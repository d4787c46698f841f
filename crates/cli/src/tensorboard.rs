//! TensorBoard's event file: length-prefixed records of a small protobuf message.
//!
//! A record is the length (u64), its masked CRC-32C, the message, the message's masked CRC-32C. Messages
//! here are `Event { wall_time = 1: double, step = 2: int64, file_version = 3: string | summary = 5 }`
//! with `Summary { value = 1 { tag = 1: string, simple_value = 2: float } }`.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// An event file being written.
pub struct EventFile(File);

impl EventFile {
    /// Starts a new file in `folder`.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let (seconds, nanoseconds) = now();
        let name = format!("events.out.tfevents.{seconds}.{nanoseconds:09}.{}", std::process::id());
        let mut file = Self(File::create(folder.join(name))?);
        let mut message = double(1, wall_time());
        message.extend(bytes(3, b"brain.Event:2"));
        file.record(&message)?;
        Ok(file)
    }

    /// Adds one value of a curve.
    pub fn scalar(&mut self, tag: &str, step: usize, value: f64) -> io::Result<()> {
        let mut point = bytes(1, tag.as_bytes());
        point.push(2 << 3 | 5);
        point.extend((value as f32).to_le_bytes());
        let mut message = double(1, wall_time());
        message.push(2 << 3);
        message.extend(varint(step as u64));
        message.extend(bytes(5, &bytes(1, &point)));
        self.record(&message)
    }

    fn record(&mut self, message: &[u8]) -> io::Result<()> {
        let length = (message.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked(&length).to_le_bytes());
        record.extend(message);
        record.extend(masked(message).to_le_bytes());
        self.0.write_all(&record)
    }
}

fn now() -> (u64, u32) {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (time.as_secs(), time.subsec_nanos())
}

fn wall_time() -> f64 {
    let (seconds, nanoseconds) = now();
    seconds as f64 + f64::from(nanoseconds) * 1e-9
}

/// TFRecord's mask: a rotation by 15 bits and a constant.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    out.extend(varint(content.len() as u64));
    out.extend(content);
    out
}

fn double(field: u8, value: f64) -> Vec<u8> {
    let mut out = vec![field << 3 | 1];
    out.extend(value.to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_follow_the_format() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(folder.path()).unwrap();
        file.scalar("loss", 300, 0.5).unwrap();
        let path = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let content = std::fs::read(path).unwrap();
        let mut at = 0;
        let mut messages = Vec::new();
        while at < content.len() {
            let length = u64::from_le_bytes(content[at..at + 8].try_into().unwrap()) as usize;
            let crc = |from: usize| u32::from_le_bytes(content[from..from + 4].try_into().unwrap());
            assert_eq!(crc(at + 8), masked(&content[at..at + 8]));
            let message = &content[at + 12..at + 12 + length];
            assert_eq!(crc(at + 12 + length), masked(message));
            messages.push(message.to_vec());
            at += 16 + length;
        }
        assert!(messages[0].ends_with(b"brain.Event:2"));
        // step 300 = 0xac 0x02; tag; 0.5 as f32.
        assert_eq!(messages[1][9..12], [0x10, 0xac, 0x02]);
        assert!(messages[1].windows(4).any(|w| w == b"loss"));
        assert!(messages[1].ends_with(&0.5f32.to_le_bytes()));
    }

    #[test]
    fn the_mask_is_the_formats() {
        // CRC-32C of "123456789" is 0xe3069283.
        assert_eq!(masked(b"123456789"), 0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8));
        assert_eq!(varint(1), [1]);
        assert_eq!(varint(300), [0xac, 0x02]);
    }
}
