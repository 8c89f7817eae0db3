//! The container that timely moves: a batch, and its form as bytes between processes.
//!
//! In a process a packet moves as it is. Between processes it is an Arrow IPC stream of the columns with
//! the system columns behind them. The guard of rows in flight stays behind when a packet is written; a
//! passage goes with it, which whoever reads the packet turns into a guard again.

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

use crate::data::flight::{Amount, Gauge, Passage};
use crate::data::{Batch, Keys, Seq};

/// A batch on its way.
#[derive(Clone, Debug, Default)]
pub struct Packet {
    batch: Batch,
    /// Of rows that came as bytes.
    passage: Option<Passage>,
    /// `length_in_bytes` and `into_bytes` are separate calls; the encoding is made once.
    encoded: OnceCell<Vec<u8>>,
}

impl From<Batch> for Packet {
    fn from(batch: Batch) -> Packet {
        Packet { batch, ..Packet::default() }
    }
}

impl Packet {
    /// The rows, where they cannot have come as bytes: a guard would be missing.
    pub fn take(&mut self) -> Batch {
        debug_assert!(self.passage.is_none(), "rows that came as bytes must land");
        std::mem::take(self).batch
    }

    /// The rows, whichever way they came: from now on in flight as `gauge` counts it.
    pub fn land(&mut self, gauge: &Arc<Gauge>) -> Batch {
        let Packet { batch, passage, .. } = std::mem::take(self);
        match passage {
            Some(passage) => Batch { flight: Some(Arc::new(gauge.land(passage))), ..batch },
            None => batch,
        }
    }

    /// The packet as bytes; whoever asks for them sends them.
    fn encoded(&self) -> &[u8] {
        self.encoded.get_or_init(|| {
            let rows = encode(&self.batch);
            let passage = self.batch.flight.as_ref().map(|flight| flight.embark(self.batch.len(), rows.len()));
            let (process, amount) = passage.map_or((NO_PASSAGE, Amount::default()), |p| (p.process.into(), p.amount));
            let words = [process, amount.rows as u64, amount.bytes as u64];
            let mut out = Vec::with_capacity(PASSAGE_BYTES + rows.len());
            words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
            out.extend_from_slice(&rows);
            out
        })
    }
}

impl timely::Accountable for Packet {
    fn record_count(&self) -> i64 {
        self.batch.len() as i64
    }
}

/// A packet's first bytes: the process that counts its rows, how many they are, and their bytes.
const PASSAGE_BYTES: usize = 24;
/// Stands for the process where nobody counts the rows.
const NO_PASSAGE: u64 = u64::MAX;
/// Which system columns follow the columns; the first byte of a frame.
const HAS_AT: u8 = 1;
const HAS_SEQ: u8 = 2;
const HAS_KEYS: u8 = 4;
/// Frame: flags (8 bytes), length of the IPC stream (8 bytes), the stream, zeros up to a multiple of 8.
const HEADER_BYTES: usize = 16;

impl ContainerBytes for Packet {
    fn from_bytes(bytes: timely::bytes::arc::Bytes) -> Self {
        // The frame was made by `into_bytes` of the same program version (the hello checks it).
        let word = |i: usize| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().expect("eight bytes"));
        let amount = Amount { rows: word(1) as i64, bytes: word(2) as i64 };
        let passage = (word(0) != NO_PASSAGE).then(|| Passage { process: word(0) as u32, amount });
        let batch = decode(&bytes[PASSAGE_BYTES..]).expect("a packet written by the same version");
        Packet { batch, passage, ..Packet::default() }
    }

    fn length_in_bytes(&self) -> usize {
        self.encoded().len()
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        writer.write_all(self.encoded()).expect("timely hands out a buffer of the length asked for");
    }
}

/// The bytes of a batch, which [`decode`] reads: for other processes, and for rows that are saved.
pub fn encode(batch: &Batch) -> Vec<u8> {
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

/// What [`encode`] wrote.
pub fn decode(bytes: &[u8]) -> Result<Batch, arrow_schema::ArrowError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that become bytes stay counted until the packet that was read from them is dropped.
    #[test]
    fn rows_are_in_flight_as_bytes_too() {
        let gauge = Arc::new(Gauge::of_process(0));
        let flight = Some(Arc::new(gauge.depart(2, 16)));
        let packet = Packet::from(Batch { time: vec![1, 2].into(), flight, ..Batch::default() });
        let mut bytes = Vec::new();
        assert_eq!(packet.length_in_bytes() % 8, 0);
        packet.into_bytes(&mut bytes);
        assert_eq!(packet.length_in_bytes(), bytes.len());
        drop(packet);
        assert_eq!(gauge.rows(), 2);
        let mut read = Packet::from_bytes(timely::bytes::arc::BytesMut::from(bytes).freeze());
        let batch = read.land(&gauge);
        assert_eq!((&batch.time[..], gauge.rows()), (&[1, 2][..], 2));
        drop(batch);
        assert_eq!((gauge.rows(), gauge.bytes()), (0, 0));
    }
}
