//! Malformed rows, kept: one JSON object per row with where it was, why it was refused, and its bytes
//! exactly as they were read, so that it can be mended and fed again.

use super::bytes::Files;
use super::{ByteSink, Destination, Mark, SinkError, Start};
use crate::connector::Malformed;
use crate::connector::format::encode::json::{write_int, write_string};

/// Writes the rows that sources refuse to a file of JSONL. Rows of the next epoch, which may be read
/// before the epoch has ended everywhere, are held until it has.
pub struct DeadLetters {
    file: Files,
    row: Vec<u8>,
    /// The epoch whose rows are written; `None` where epochs are not told apart.
    epoch: Option<u64>,
    held: Vec<u8>,
}

impl DeadLetters {
    /// Opens the file as `start` says; `epoch` is the first of the run.
    pub fn open(path: &str, start: &Start, epoch: u64) -> Result<DeadLetters, SinkError> {
        let file = Files::open_text(&Destination::File(path.to_string()), start)?;
        let epoch = matches!(start, Start::Recorded(_)).then_some(epoch);
        Ok(DeadLetters { file, row: Vec::new(), epoch, held: Vec::new() })
    }

    /// Ends the epoch: how much of the file belongs to it and those before.
    pub fn end_epoch(&mut self) -> Result<Vec<Mark>, SinkError> {
        let marks = self.file.mark()?;
        self.epoch = self.epoch.map(|epoch| epoch + 1);
        self.write_held()?;
        Ok(marks)
    }

    fn write_held(&mut self) -> Result<(), SinkError> {
        let held = std::mem::take(&mut self.held);
        self.file.write(0, &held)
    }

    /// Writes one row of a partition, which was read in `epoch`.
    pub fn write(&mut self, epoch: u64, source: &str, partition: &str, malformed: &Malformed) -> Result<(), SinkError> {
        self.row.clear();
        encode(source, partition, malformed, &mut self.row);
        if self.epoch.is_some_and(|own| epoch > own) {
            self.held.extend_from_slice(&self.row);
            return Ok(());
        }
        self.file.write(0, &self.row)
    }

    /// Completes the file, with the rows of an epoch that did not end.
    pub fn finish(&mut self) -> Result<(), SinkError> {
        self.write_held()?;
        self.file.finish()
    }
}

/// `raw` has the row when it is UTF-8, `raw_base64` when it is not.
fn encode(source: &str, partition: &str, malformed: &Malformed, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"source\":");
    write_string(source, out);
    out.extend_from_slice(b",\"partition\":");
    write_string(partition, out);
    out.extend_from_slice(b",\"position\":");
    write_int(malformed.position as i64, out);
    out.extend_from_slice(b",\"reason\":");
    write_string(malformed.reason.name(), out);
    out.extend_from_slice(b",\"detail\":");
    write_string(&malformed.detail, out);
    match std::str::from_utf8(&malformed.raw) {
        Ok(raw) => {
            out.extend_from_slice(b",\"raw\":");
            write_string(raw, out);
        }
        Err(_) => {
            out.extend_from_slice(b",\"raw_base64\":");
            out.push(b'"');
            write_base64(&malformed.raw, out);
            out.push(b'"');
        }
    }
    out.extend_from_slice(b"}\n");
}

/// Base64 with padding (RFC 4648).
fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |i: usize| group.get(i).copied().unwrap_or(0) as usize;
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            out.push(if i <= group.len() { DIGITS[bits >> (18 - 6 * i) & 63] } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::connector::MalformedReason;

    #[test]
    fn a_row_is_kept_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dead.jsonl");
        let mut letters = DeadLetters::open(path.to_str().unwrap(), &Start::Anew, 0).unwrap();
        let row = |raw: &[u8]| Malformed {
            reason: MalformedReason::WrongType,
            detail: "price: \"x\" is no float".into(),
            position: 87,
            line: None,
            raw: raw.to_vec(),
        };
        letters.write(0, "trades*.jsonl", "trades-1.jsonl", &row(b"{\"price\":\"x\"}")).unwrap();
        letters.write(0, "stdin", "stdin", &row(b"\xff\x00")).unwrap();
        letters.finish().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let rows: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let first = json!({"source": "trades*.jsonl", "partition": "trades-1.jsonl", "position": 87,
            "reason": "wrong_type", "detail": "price: \"x\" is no float", "raw": "{\"price\":\"x\"}"});
        assert_eq!(rows[0], first);
        let mut text = Vec::new();
        write_base64(b"light work.", &mut text);
        assert_eq!(text, b"bGlnaHQgd29yay4=");
        assert_eq!(rows[1]["raw_base64"], json!("/wA="));
    }
}
