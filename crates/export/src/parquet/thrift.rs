//! Structures in Thrift's compact protocol, which Parquet writes its metadata in.

/// The type of a 32-bit number.
pub(super) const I32: u8 = 5;
/// The type of bytes and texts.
pub(super) const BINARY: u8 = 8;
/// The type of a structure.
pub(super) const STRUCT: u8 = 12;
const I64: u8 = 6;
const LIST: u8 = 9;
const TRUE: u8 = 1;
const FALSE: u8 = 2;

/// A structure that grows, field by field in the order of their numbers.
#[derive(Default)]
pub(super) struct Thrift {
    out: Vec<u8>,
    /// The last field's number in this structure.
    last: u8,
    /// And in those around it.
    around: Vec<u8>,
}

impl Thrift {
    /// The bytes of the outermost structure.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.out.push(0);
        self.out
    }

    pub(super) fn bool(&mut self, field: u8, value: bool) {
        self.field(field, if value { TRUE } else { FALSE });
    }

    pub(super) fn i32(&mut self, field: u8, value: i32) {
        self.field(field, I32);
        self.i32_item(value);
    }

    pub(super) fn i64(&mut self, field: u8, value: i64) {
        self.field(field, I64);
        varint(zigzag(value), &mut self.out);
    }

    pub(super) fn text(&mut self, field: u8, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    pub(super) fn bytes(&mut self, field: u8, value: &[u8]) {
        self.field(field, BINARY);
        self.bytes_item(value);
    }

    /// A list of so many items, which follow.
    pub(super) fn list(&mut self, field: u8, of: u8, length: usize) {
        self.field(field, LIST);
        match u8::try_from(length) {
            Ok(short @ 0..15) => self.out.push(short << 4 | of),
            _ => {
                self.out.push(0xf0 | of);
                varint(length as u64, &mut self.out);
            }
        }
    }

    pub(super) fn i32_item(&mut self, value: i32) {
        varint(zigzag(i64::from(value)), &mut self.out);
    }

    pub(super) fn text_item(&mut self, value: &str) {
        self.bytes_item(value.as_bytes());
    }

    fn bytes_item(&mut self, value: &[u8]) {
        varint(value.len() as u64, &mut self.out);
        self.out.extend_from_slice(value);
    }

    /// A structure as a field of this one, until it is closed.
    pub(super) fn open(&mut self, field: u8) {
        self.field(field, STRUCT);
        self.item();
    }

    /// A structure as an item of a list, until it is closed.
    pub(super) fn item(&mut self) {
        self.around.push(self.last);
        self.last = 0;
    }

    pub(super) fn close(&mut self) {
        self.out.push(0);
        self.last = self.around.pop().unwrap_or_default();
    }

    /// Fields stand by how much their numbers grow; none of Parquet's grows by more than 15.
    fn field(&mut self, field: u8, of: u8) {
        self.out.push(field.saturating_sub(self.last) << 4 | of);
        self.last = field;
    }
}

const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// Seven bits a byte, the low ones first.
pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let bytes = |value| {
            let mut out = Vec::new();
            varint(value, &mut out);
            out
        };
        assert_eq!((bytes(0), bytes(127), bytes(300)), (vec![0], vec![127], vec![0xac, 2]));
        assert_eq!(bytes(u64::MAX).len(), 10);
        assert_eq!([0, -1, 1, i64::MAX, i64::MIN].map(zigzag), [0, 1, 2, u64::MAX - 1, u64::MAX]);
    }

    #[test]
    fn fields_stand_by_their_distance() {
        let mut thrift = Thrift::default();
        thrift.i32(1, 1);
        thrift.open(5);
        thrift.bool(2, true);
        thrift.close();
        thrift.i64(7, -1);
        assert_eq!(thrift.finish(), [0x15, 2, 0x4c, 0x21, 0, 0x26, 1, 0]);
    }
}
