//! Kafka's primitive types: a bounded, borrowing [`Reader`] and a gather-list [`Writer`].
//!
//! Every length that a frame claims is checked against the bytes that are left before anything is allocated for it.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use crate::ids::TopicId;
use crate::piece::Piece;

/// Why bytes are not the message they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A field needs more bytes than the frame has left.
    #[error("a field of {needed} bytes, where {left} are left")]
    Truncated {
        /// Bytes that the field needs (for an array: at least).
        needed: usize,
        /// Bytes left in the frame.
        left: usize,
    },
    /// A length below zero where null is not allowed, or below -1.
    #[error("a length of {0}")]
    NegativeLength(i64),
    /// A variable-length integer that goes on past its type's size.
    #[error("a variable-length integer that is too long")]
    Varint,
    /// A string longer than any of Kafka's can be.
    #[error("a string of {0} bytes")]
    StringLength(usize),
    /// A string that is not UTF-8.
    #[error("a string that is not UTF-8")]
    Utf8,
    /// Bytes left over behind the message.
    #[error("{0} bytes behind the end of the message")]
    Trailing(usize),
    /// A tagged field that comes twice, or behind one with a higher tag.
    #[error("tagged field {0} comes twice or out of order")]
    TagOrder(u32),
    /// More elements than the caller takes, in all of a message's arrays of them.
    #[error("{count} topics and partitions, where {count_max} are taken")]
    TooMany {
        /// As many as came.
        count: usize,
        /// The bound.
        count_max: usize,
    },
    /// A version outside those declared.
    #[error("version {0} is not known")]
    Version(i16),
}

/// Version of a message and what follows from it.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The API version.
    pub version: i16,
    /// Whether lengths are compact and structures end in tagged fields (KIP-482).
    pub flexible: bool,
}

/// Bytes of a string, at most: 15 bits, in compact form as well, because Kafka's own decoders hold to it there.
const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// Reads from a frame without copying.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(DecodeError::Truncated { needed: len, left: self.rest.len() });
        };
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(DecodeError::Truncated { needed: N, left: self.rest.len() });
        };
        self.rest = rest;
        Ok(*taken)
    }

    /// A number of fixed size, outside any message.
    #[inline]
    pub(crate) fn fixed<T: Field<'a>>(&mut self) -> Result<T, DecodeError> {
        T::read(self, Context { version: 0, flexible: false })
    }

    /// An unsigned LEB128 integer of at most 32 bits.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array::<1>()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0xf {
                return Err(DecodeError::Varint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    /// A zigzag LEB128 integer of at most 64 bits, as records use them.
    #[inline]
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array::<1>()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Varint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(DecodeError::Varint)
    }

    /// Length of a string or of bytes; `None` is null. `wide`: 4 bytes where not compact, else 2.
    #[inline]
    fn length(&mut self, ctx: Context, wide: bool) -> Result<Option<usize>, DecodeError> {
        let len = if ctx.flexible {
            i64::from(self.uvarint()?) - 1
        } else if wide {
            i64::from(i32::from_be_bytes(self.array()?))
        } else {
            i64::from(i16::from_be_bytes(self.array()?))
        };
        match len {
            -1 => Ok(None),
            0.. => Ok(Some(len as usize)),
            _ => Err(DecodeError::NegativeLength(len)),
        }
    }

    fn string(&mut self, ctx: Context) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let Some(len) = self.length(ctx, false)? else { return Ok(None) };
        if len > STRING_BYTES_MAX {
            return Err(DecodeError::StringLength(len));
        }
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| DecodeError::Utf8)?;
        Ok(Some(Cow::Borrowed(text)))
    }

    fn bytes(&mut self, ctx: Context) -> Result<Option<&'a [u8]>, DecodeError> {
        let Some(len) = self.length(ctx, true)? else { return Ok(None) };
        self.take(len).map(Some)
    }

    fn vec<T: Field<'a>>(&mut self, ctx: Context) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(len) = self.length(ctx, true)? else { return Ok(None) };
        // Every element takes at least a byte, so a length beyond the frame is a lie; and memory is taken as elements
        // really come, because an element in memory may be much larger than its bytes.
        if len > self.remaining() {
            return Err(DecodeError::Truncated { needed: len, left: self.remaining() });
        }
        let mut elements = Vec::with_capacity(len.min(crate::limits::ARRAY_CAPACITY_FIRST));
        for _ in 0..len {
            elements.push(T::read(self, ctx)?);
        }
        Ok(Some(elements))
    }

    /// The tagged fields at the end of a structure: `known` reads those it knows from a reader of just their bytes. Tags ascend
    /// (KIP-482), so none comes twice.
    pub fn tagged(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader<'a>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let mut last = None;
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            if last.replace(tag).is_some_and(|last| last >= tag) {
                return Err(DecodeError::TagOrder(tag));
            }
            let len = self.uvarint()? as usize;
            known(tag, &mut Reader::new(self.take(len)?))?;
        }
        Ok(())
    }
}

/// Bytes of the length ahead of a message.
const LENGTH_BYTES: usize = 4;
/// Memory for a message to begin with: most answers fit.
const FRAME_BYTES_FIRST: usize = 256;
/// Payloads below this are copied between the fields around them.
const SPLICE_BYTES_MIN: usize = 1024;

/// Writes a message as a gather list: small fields are copied together, payloads are spliced in by reference.
#[derive(Debug, Default)]
pub struct Writer {
    done: Vec<Piece>,
    open: BytesMut,
    /// Bytes in `done`.
    done_bytes: usize,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// One for a message with its length ahead, as it goes over the wire; ends with [`Writer::finish_framed`].
    pub fn framed() -> Writer {
        Writer::framed_in(&mut BytesMut::new())
    }

    /// The same, in memory that many messages share: ends with [`Writer::finish_framed_in`], which gives back what is left of it.
    pub fn framed_in(memory: &mut BytesMut) -> Writer {
        memory.reserve(FRAME_BYTES_FIRST);
        let mut writer = Writer { open: std::mem::take(memory), ..Writer::default() };
        writer.put(&[0; LENGTH_BYTES]);
        writer
    }

    /// Bytes written so far, holes included.
    pub fn len(&self) -> usize {
        self.done_bytes + self.open.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes in.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.open.put_slice(bytes);
    }

    /// Splices a part in by reference; a short one is copied, as a part of its own costs the kernel more than the copy.
    pub fn splice(&mut self, piece: Piece) {
        if let Piece::Mem(bytes) = &piece
            && bytes.len() < SPLICE_BYTES_MIN
        {
            return self.put(bytes);
        }
        if !self.open.is_empty() {
            let memory = self.open.split().freeze();
            self.done_bytes += memory.len();
            self.done.push(Piece::Mem(memory));
        }
        self.done_bytes += piece.len();
        self.done.push(piece);
    }

    /// An unsigned LEB128 integer.
    #[inline]
    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.open.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.open.put_u8(value as u8);
    }

    /// A length; `None` is null. `wide`: 4 bytes where not compact, else 2.
    ///
    /// # Panics
    /// When the length does not fit its field: a message of ours that large is our bug.
    #[inline]
    pub fn length(&mut self, len: Option<usize>, ctx: Context, wide: bool) {
        if ctx.flexible {
            self.uvarint(len.map_or(0, |len| u32::try_from(len + 1).expect("a length fits 32 bits")));
        } else if wide {
            self.open.put_i32(len.map_or(-1, |len| i32::try_from(len).expect("a length fits 31 bits")));
        } else {
            self.open.put_i16(len.map_or(-1, |len| i16::try_from(len).expect("a string fits 15 bits of length")));
        }
    }

    /// A string. What no string can hold is cut off: a message for people that quotes what a client sent can get that long.
    fn string(&mut self, text: Option<&str>, ctx: Context) {
        let text = text.map(|text| &text[..text.floor_char_boundary(STRING_BYTES_MAX)]);
        self.length(text.map(str::len), ctx, false);
        self.put(text.unwrap_or_default().as_bytes());
    }

    /// One tagged field.
    pub fn tagged<'a>(&mut self, tag: u32, value: &impl Field<'a>, ctx: Context) {
        let mut inner = Writer::new();
        value.write(&mut inner, ctx);
        let bytes = inner.finish_contiguous();
        self.uvarint(tag);
        self.uvarint(u32::try_from(bytes.len()).expect("a tagged field fits 32 bits"));
        self.put(&bytes);
    }

    /// The gather list.
    pub fn finish(mut self) -> Vec<Piece> {
        if !self.open.is_empty() {
            self.done.push(Piece::Mem(self.open.freeze()));
        }
        self.done
    }

    /// The gather list with the length of all that follows in its first 4 bytes; of a [`Writer::framed`].
    ///
    /// # Panics
    /// When the message has 4 GiB or more: a message of ours that large is our bug.
    pub fn finish_framed(mut self) -> Vec<Piece> {
        self.enter_length();
        self.finish()
    }

    /// The same of a [`Writer::framed_in`], whose memory gets back what the message did not need.
    ///
    /// # Panics
    /// As [`Writer::finish_framed`].
    pub fn finish_framed_in(mut self, memory: &mut BytesMut) -> impl Iterator<Item = Piece> {
        self.enter_length();
        let last = (!self.open.is_empty()).then(|| Piece::Mem(self.open.split().freeze()));
        *memory = self.open;
        self.done.into_iter().chain(last)
    }

    fn enter_length(&mut self) {
        let length = u32::try_from(self.len() - LENGTH_BYTES).expect("a message is smaller than 4 GiB").to_be_bytes();
        match self.done.first_mut() {
            None => self.open[..LENGTH_BYTES].copy_from_slice(&length),
            Some(Piece::Mem(first)) => {
                // It shares its memory with what came behind it, so it stays as it is.
                let _ = first.split_to(LENGTH_BYTES);
                self.done.insert(0, Piece::Mem(Bytes::copy_from_slice(&length)));
            }
            Some(Piece::Hole { .. }) => unreachable!("a framed message begins with memory"),
        }
    }

    /// Everything in one piece of memory.
    ///
    /// # Panics
    /// When there are holes: only their owner could fill them.
    pub fn finish_contiguous(self) -> Bytes {
        if self.done.is_empty() {
            return self.open.freeze();
        }
        let mut all = BytesMut::with_capacity(self.len());
        for piece in self.finish() {
            match piece {
                Piece::Mem(bytes) => all.put_slice(&bytes),
                Piece::Hole { .. } => panic!("a message with holes cannot be made contiguous"),
            }
        }
        all.freeze()
    }
}

/// A type that can be a field of a message.
pub trait Field<'a>: Sized {
    /// Reads a value.
    fn read(reader: &mut Reader<'a>, ctx: Context) -> Result<Self, DecodeError>;
    /// Writes the value.
    fn write(&self, writer: &mut Writer, ctx: Context);
}

macro_rules! integers {
    ($($ty:ty),*) => {$(
        impl Field<'_> for $ty {
            #[inline]
            fn read(reader: &mut Reader<'_>, _: Context) -> Result<$ty, DecodeError> {
                reader.array().map(<$ty>::from_be_bytes)
            }
            #[inline]
            fn write(&self, writer: &mut Writer, _: Context) {
                writer.put(&self.to_be_bytes());
            }
        }
    )*};
}
integers!(i8, i16, i32, i64, u16, u32, f64);

impl Field<'_> for bool {
    #[inline]
    fn read(reader: &mut Reader<'_>, ctx: Context) -> Result<bool, DecodeError> {
        i8::read(reader, ctx).map(|byte| byte != 0)
    }
    #[inline]
    fn write(&self, writer: &mut Writer, ctx: Context) {
        i8::from(*self).write(writer, ctx);
    }
}

impl Field<'_> for TopicId {
    #[inline]
    fn read(reader: &mut Reader<'_>, _: Context) -> Result<TopicId, DecodeError> {
        reader.array().map(TopicId)
    }
    #[inline]
    fn write(&self, writer: &mut Writer, _: Context) {
        writer.put(&self.0);
    }
}

impl<'a> Field<'a> for Option<Cow<'a, str>> {
    fn read(reader: &mut Reader<'a>, ctx: Context) -> Result<Self, DecodeError> {
        reader.string(ctx)
    }
    fn write(&self, writer: &mut Writer, ctx: Context) {
        writer.string(self.as_deref(), ctx);
    }
}

impl<'a> Field<'a> for Cow<'a, str> {
    fn read(reader: &mut Reader<'a>, ctx: Context) -> Result<Self, DecodeError> {
        reader.string(ctx)?.ok_or(DecodeError::NegativeLength(-1))
    }
    fn write(&self, writer: &mut Writer, ctx: Context) {
        writer.string(Some(self), ctx);
    }
}

impl<'a> Field<'a> for Option<Cow<'a, [u8]>> {
    fn read(reader: &mut Reader<'a>, ctx: Context) -> Result<Self, DecodeError> {
        Ok(reader.bytes(ctx)?.map(Cow::Borrowed))
    }
    fn write(&self, writer: &mut Writer, ctx: Context) {
        writer.length(self.as_ref().map(|bytes| bytes.len()), ctx, true);
        writer.put(self.as_deref().unwrap_or_default());
    }
}

impl<'a> Field<'a> for Cow<'a, [u8]> {
    fn read(reader: &mut Reader<'a>, ctx: Context) -> Result<Self, DecodeError> {
        reader.bytes(ctx)?.map(Cow::Borrowed).ok_or(DecodeError::NegativeLength(-1))
    }
    fn write(&self, writer: &mut Writer, ctx: Context) {
        writer.length(Some(self.len()), ctx, true);
        writer.put(self);
    }
}

impl<'a, T: Field<'a>> Field<'a> for Vec<T> {
    fn read(reader: &mut Reader<'a>, ctx: Context) -> Result<Self, DecodeError> {
        reader.vec(ctx)?.ok_or(DecodeError::NegativeLength(-1))
    }
    fn write(&self, writer: &mut Writer, ctx: Context) {
        writer.length(Some(self.len()), ctx, true);
        self.iter().for_each(|element| element.write(writer, ctx));
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<Vec<T>> {
    fn read(reader: &mut Reader<'a>, ctx: Context) -> Result<Self, DecodeError> {
        reader.vec(ctx)
    }
    fn write(&self, writer: &mut Writer, ctx: Context) {
        match self {
            Some(elements) => elements.write(writer, ctx),
            None => writer.length(None, ctx, true),
        }
    }
}

/// A field of record batches: borrowed from a frame when decoded, a gather list when encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Records<'a> {
    /// No records field (null).
    #[default]
    Null,
    /// Batches as they stand in the frame.
    Borrowed(&'a [u8]),
    /// Batches by reference, from memory and from files.
    Gather(Vec<Piece>),
}

impl Records<'_> {
    /// Length in bytes; 0 for null.
    pub fn len(&self) -> usize {
        match self {
            Records::Null => 0,
            Records::Borrowed(bytes) => bytes.len(),
            Records::Gather(pieces) => pieces.iter().map(Piece::len).sum(),
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> Field<'a> for Records<'a> {
    fn read(reader: &mut Reader<'a>, ctx: Context) -> Result<Self, DecodeError> {
        Ok(reader.bytes(ctx)?.map_or(Records::Null, Records::Borrowed))
    }
    fn write(&self, writer: &mut Writer, ctx: Context) {
        match self {
            Records::Null => writer.length(None, ctx, true),
            Records::Borrowed(bytes) => {
                writer.length(Some(bytes.len()), ctx, true);
                writer.put(bytes);
            }
            Records::Gather(pieces) => {
                writer.length(Some(self.len()), ctx, true);
                pieces.iter().for_each(|piece| writer.splice(piece.clone()));
            }
        }
    }
}

/// A structure that may be null as a whole: one byte ahead of it says so.
pub trait Structure {}

impl<'a, T: Field<'a> + Structure> Field<'a> for Option<T> {
    fn read(reader: &mut Reader<'a>, ctx: Context) -> Result<Self, DecodeError> {
        match i8::read(reader, ctx)? {
            -1 => Ok(None),
            _ => T::read(reader, ctx).map(Some),
        }
    }
    fn write(&self, writer: &mut Writer, ctx: Context) {
        i8::from(self.is_some()).wrapping_mul(2).wrapping_sub(1).write(writer, ctx);
        if let Some(value) = self {
            value.write(writer, ctx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_once_and_in_order() {
        let read = |bytes: &[u8]| {
            let mut seen = Vec::new();
            let result = Reader::new(bytes).tagged(|tag, _| {
                seen.push(tag);
                Ok(())
            });
            result.map(|()| seen)
        };
        assert_eq!(read(&[0]), Ok(vec![]));
        assert_eq!(read(&[2, 0, 0, 5, 1, 9]), Ok(vec![0, 5]));
        assert_eq!(read(&[2, 5, 0, 5, 0]), Err(DecodeError::TagOrder(5)));
        assert_eq!(read(&[2, 5, 0, 0, 0]), Err(DecodeError::TagOrder(0)));
        assert_eq!(read(&[1, 5, 1]), Err(DecodeError::Truncated { needed: 1, left: 0 }));
    }

    #[test]
    fn strings_are_bounded_both_ways() {
        for flexible in [false, true] {
            let ctx = Context { version: 0, flexible };
            for (text, len) in
                [("a".repeat(32_767), 32_767), ("a".repeat(32_768), 32_767), ("é".repeat(16_384), 32_766)]
            {
                let mut writer = Writer::new();
                Cow::Borrowed(text.as_str()).write(&mut writer, ctx);
                let bytes = writer.finish_contiguous();
                let read = <Cow<'_, str>>::read(&mut Reader::new(&bytes), ctx).unwrap();
                assert_eq!(read, &text[..len]);
            }
        }
        let mut writer = Writer::new();
        writer.uvarint(32_769);
        writer.put(&[b'a'; 32_768]);
        let ctx = Context { version: 0, flexible: true };
        let bytes = writer.finish_contiguous();
        assert_eq!(<Cow<'_, str>>::read(&mut Reader::new(&bytes), ctx), Err(DecodeError::StringLength(32_768)));
    }

    #[test]
    fn framed_messages_share_memory() {
        let mut memory = BytesMut::with_capacity(4 * FRAME_BYTES_FIRST);
        let begin = memory.as_ptr() as usize;
        let mut write = |fill: u8| {
            let mut writer = Writer::framed_in(&mut memory);
            writer.put(&[fill; 9]);
            writer.finish_framed_in(&mut memory).collect::<Vec<_>>()
        };
        for (pieces, fill) in [write(1), write(2)].into_iter().zip(1..) {
            let [Piece::Mem(bytes)] = &pieces[..] else { panic!("one piece of memory") };
            assert_eq!(bytes[..], [[0, 0, 0, 9].as_slice(), &[fill; 9]].concat());
            assert_eq!(bytes.as_ptr() as usize, begin + 13 * (usize::from(fill) - 1), "one behind the other");
        }
    }

    #[test]
    fn a_framed_message_begins_with_its_length() {
        let long = Bytes::from(vec![7; SPLICE_BYTES_MIN]);
        let short = Bytes::from_static(b"short");
        for pieces in [vec![], vec![short.clone()], vec![long.clone()], vec![long.clone(), short, long]] {
            let mut writer = Writer::framed();
            writer.put(b"head");
            let expected: Vec<u8> = b"head".iter().chain(pieces.iter().flatten()).copied().collect();
            let spliced = pieces.iter().filter(|piece| piece.len() >= SPLICE_BYTES_MIN).count();
            pieces.into_iter().for_each(|piece| writer.splice(Piece::Mem(piece)));
            let parts = writer.finish_framed();
            assert_eq!(parts.len(), [1, 3, 5][spliced], "short ones are copied");
            let bytes: Vec<u8> = parts
                .iter()
                .flat_map(|part| match part {
                    Piece::Mem(bytes) => bytes.to_vec(),
                    Piece::Hole { .. } => unreachable!(),
                })
                .collect();
            assert_eq!(bytes[..4], (expected.len() as u32).to_be_bytes());
            assert_eq!(bytes[4..], expected);
        }
        let mut writer = Writer::framed();
        writer.splice(Piece::Hole { len: 9 });
        assert_eq!(writer.finish_framed()[0], Piece::Mem(Bytes::from_static(&[0, 0, 0, 9])));
    }
}
