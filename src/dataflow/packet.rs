//! The container that timely moves: a batch, and its form as bytes between processes.
//!
//! In a process a packet moves as it is. Between processes it is an Arrow IPC stream of the columns with
//! the system columns behind them; rows in flight are counted per process, so that the guard stays
//! behind when a packet is written.

use std::cell::OnceCell;
use std::io::Write;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt32Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array,
};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Field, Schema};
use timely::dataflow::channels::ContainerBytes;

use crate::data::{Batch, Keys, Seq};

/// A batch on its way.
#[derive(Clone, Debug, Default)]
pub struct Packet {
    pub batch: Batch,
    /// `length_in_bytes` and `into_bytes` are separate calls; the encoding is made once.
    encoded: OnceCell<Vec<u8>>,
}

impl From<Batch> for Packet {
    fn from(batch: Batch) -> Packet {
        Packet { batch, encoded: OnceCell::new() }
    }
}

impl timely::Accountable for Packet {
    fn record_count(&self) -> i64 {
        self.batch.len() as i64
    }
}

/// Which system columns follow the columns; the first byte of a frame.
const HAS_AT: u8 = 1;
const HAS_SEQ: u8 = 2;
const HAS_KEYS: u8 = 4;
/// Frame: flags (8 bytes), length of the IPC stream (8 bytes), the stream, zeros up to a multiple of 8.
const HEADER_BYTES: usize = 16;

impl ContainerBytes for Packet {
    fn from_bytes(bytes: timely::bytes::arc::Bytes) -> Self {
        // The frame was made by `into_bytes` of the same program version (the hello checks it).
        decode(&bytes).expect("a packet written by the same version").into()
    }

    fn length_in_bytes(&self) -> usize {
        self.encoded.get_or_init(|| encode(&self.batch)).len()
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        let encoded = self.encoded.get_or_init(|| encode(&self.batch));
        writer.write_all(encoded).expect("timely hands out a buffer of the length asked for");
    }
}

fn encode(batch: &Batch) -> Vec<u8> {
    let mut columns = batch.columns.clone();
    let mut flags = 0;
    columns.push(Arc::new(Int64Array::new(batch.time.clone(), None)));
    if let Some(at) = &batch.at {
        flags |= HAS_AT;
        columns.push(Arc::new(Int64Array::new(at.clone(), None)));
    }
    if let Some(seq) = &batch.seq {
        flags |= HAS_SEQ;
        columns.push(Arc::new(UInt32Array::new(seq.partition.clone(), None)));
        columns.push(Arc::new(UInt64Array::new(seq.position.clone(), None)));
    }
    if let Some(keys) = &batch.keys {
        flags |= HAS_KEYS;
        columns.push(Arc::new(BinaryArray::from_iter_values((0..keys.len()).map(|i| keys.key(i)))));
    }
    let fields: Vec<Field> = columns.iter().map(|c| Field::new("", c.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.len()));
    let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options).expect("columns of one length");
    let mut out = vec![0; HEADER_BYTES];
    out[0] = flags;
    let mut writer = StreamWriter::try_new(&mut out, &schema).expect("writing to memory");
    writer.write(&rows).and_then(|()| writer.finish()).expect("writing to memory");
    drop(writer);
    let length = (out.len() - HEADER_BYTES) as u64;
    out[8..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    out.resize(out.len().next_multiple_of(8), 0);
    out
}

fn decode(bytes: &[u8]) -> Result<Batch, arrow_schema::ArrowError> {
    let flags = bytes[0];
    let length = u64::from_le_bytes(bytes[8..HEADER_BYTES].try_into().expect("eight bytes")) as usize;
    let mut reader = StreamReader::try_new(&bytes[HEADER_BYTES..HEADER_BYTES + length], None)?;
    let rows = reader.next().expect("one record batch per packet")?;
    let mut columns = rows.columns().to_vec();
    let mut pop = || columns.pop().expect("as many columns as the flags say");
    let keys = (flags & HAS_KEYS != 0).then(|| Arc::new(keys_of(&pop())));
    let seq = (flags & HAS_SEQ != 0).then(|| {
        let position = pop().as_primitive::<UInt64Type>().values().clone();
        Seq { partition: pop().as_primitive::<UInt32Type>().values().clone(), position }
    });
    let at = (flags & HAS_AT != 0).then(|| pop().as_primitive::<Int64Type>().values().clone());
    let time = pop().as_primitive::<Int64Type>().values().clone();
    Ok(Batch { columns, time, at, seq, keys, flight: None })
}

fn keys_of(column: &ArrayRef) -> Keys {
    let binary = column.as_binary::<i32>();
    let offsets = binary.value_offsets();
    let data = binary.value_data()[offsets[0] as usize..offsets[binary.len()] as usize].to_vec();
    Keys::new(data, offsets.iter().map(|o| (o - offsets[0]) as u32).collect())
}
