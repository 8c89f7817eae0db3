//! What an Arrow IPC file says of the sizes of compressed buffers, checked before the library believes it.
//!
//! The library allocates the uncompressed size that stands before each buffer; in a damaged file that is
//! any number, and an allocation that fails ends the process. So the messages are walked once when a file
//! is opened: their headers, and eight bytes of each buffer if they are compressed. Whatever else is wrong
//! with a message the library finds itself.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use arrow_ipc::{Message, root_as_footer, root_as_message};

/// The longest buffer. Strings of one batch are at most 2 GiB, and numbers as long are half a billion.
const BUFFER_BYTES_MAX: i64 = 4 << 30;
/// What a file ends with: the footer's length and a magic word.
const TRAILER_BYTES: u64 = 10;

/// Checks the messages of a file (`in_file_format`) or stream of `size` bytes.
///
/// # Errors
/// Of [`io::ErrorKind::InvalidData`] when a buffer is too long or a message is cut off.
pub fn check_buffers(file: &mut File, size: u64, in_file_format: bool) -> io::Result<()> {
    let mut messages = Messages { file, size };
    if in_file_format { messages.check_file() } else { messages.check_stream() }
}

struct Messages<'a> {
    file: &'a mut File,
    size: u64,
}

fn invalid(what: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

impl Messages<'_> {
    fn read(&mut self, at: u64, bytes: u64) -> io::Result<Vec<u8>> {
        if at.checked_add(bytes).is_none_or(|end| end > self.size) {
            return Err(invalid(format!("{bytes} bytes at {at} are not in it")));
        }
        let mut out = vec![0; bytes as usize];
        self.file.seek(SeekFrom::Start(at))?;
        self.file.read_exact(&mut out)?;
        Ok(out)
    }

    /// The messages that the footer names.
    fn check_file(&mut self) -> io::Result<()> {
        let end = self.size.checked_sub(TRAILER_BYTES).ok_or_else(|| invalid("it has no footer"))?;
        let length = i32::from_le_bytes(self.read(end, 4)?.try_into().expect("four bytes"));
        let start = u64::try_from(length).ok().and_then(|length| end.checked_sub(length));
        let start = start.ok_or_else(|| invalid("its footer is longer than itself"))?;
        let footer = self.read(start, end - start)?;
        let footer = root_as_footer(&footer).map_err(invalid)?;
        let blocks = footer.dictionaries().into_iter().chain(footer.recordBatches()).flatten();
        for block in blocks {
            let parts = [block.offset(), i64::from(block.metaDataLength()), block.bodyLength()];
            let [Ok(at), Ok(metadata), Ok(_)] = parts.map(u64::try_from) else {
                return Err(invalid("a block has a negative size"));
            };
            // After what marks a message, and its length.
            let header = self.read(at, metadata)?;
            let skipped = if header.starts_with(&[0xff; 4]) { 8 } else { 4 };
            self.check_message(header.get(skipped..).unwrap_or_default(), at + metadata)?;
        }
        Ok(())
    }

    /// The messages one after the other, to the end or to one of no length.
    fn check_stream(&mut self) -> io::Result<()> {
        let mut at = 0;
        while at < self.size {
            let mut length = self.read(at, 4)?;
            at += 4;
            if length == [0xff; 4] {
                length = self.read(at, 4)?;
                at += 4;
            }
            let length = i32::from_le_bytes(length.try_into().expect("four bytes"));
            if length == 0 {
                break;
            }
            let length = u64::try_from(length).map_err(|_| invalid("a message has a negative length"))?;
            let header = self.read(at, length)?;
            at += length;
            let body = self.check_message(&header, at)?;
            at = at.checked_add(body).ok_or_else(|| invalid("a message is longer than any file"))?;
        }
        Ok(())
    }

    /// Checks the buffers of a message whose body begins at `body`; how long that is.
    fn check_message(&mut self, header: &[u8], body: u64) -> io::Result<u64> {
        let message = root_as_message(header).map_err(invalid)?;
        for offset in compressed_buffers(&message) {
            let at = u64::try_from(offset).ok().and_then(|offset| body.checked_add(offset));
            let at = at.ok_or_else(|| invalid("a buffer has a negative offset"))?;
            let length = i64::from_le_bytes(self.read(at, 8)?.try_into().expect("eight bytes"));
            if length > BUFFER_BYTES_MAX {
                return Err(invalid(format!("a buffer of {length} bytes")));
            }
        }
        u64::try_from(message.bodyLength()).map_err(|_| invalid("a message has a negative length"))
    }
}

/// Where the compressed buffers of a message are in its body; an empty one has no bytes.
fn compressed_buffers(message: &Message<'_>) -> Vec<i64> {
    let batch = message.header_as_record_batch().or_else(|| message.header_as_dictionary_batch()?.data());
    let Some(batch) = batch.filter(|batch| batch.compression().is_some()) else { return Vec::new() };
    batch.buffers().into_iter().flatten().filter(|buffer| buffer.length() > 0).map(|buffer| buffer.offset()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    use arrow_ipc::CompressionType;
    use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};

    use super::*;

    fn check(bytes: &[u8], in_file_format: bool) -> io::Result<()> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        check_buffers(&mut file, bytes.len() as u64, in_file_format)
    }

    #[test]
    fn an_impossible_length_is_found_in_both_formats() {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
        let mut file = FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options.clone()).unwrap();
        let mut stream = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
        file.write(&batch).unwrap();
        stream.write(&batch).unwrap();
        for (mut bytes, in_file_format) in [(file.into_inner().unwrap(), true), (stream.into_inner().unwrap(), false)] {
            check(&bytes, in_file_format).unwrap();
            let length = bytes.windows(8).rposition(|w| w == 800i64.to_le_bytes()).expect("100 numbers of 8 bytes");
            bytes[length..length + 8].copy_from_slice(&(1i64 << 50).to_le_bytes());
            let error = check(&bytes, in_file_format).unwrap_err();
            assert_eq!(error.to_string(), "a buffer of 1125899906842624 bytes");
            assert!(check(&bytes[..length], in_file_format).is_err());
        }
    }
}
