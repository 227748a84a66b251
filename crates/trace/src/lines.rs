//! From bytes to lines.

use std::ops::{Range, RangeInclusive};

/// Where the lines of a text start.
#[derive(Clone, Debug)]
pub struct Lines {
    breaks: Vec<usize>,
}

impl Lines {
    /// Finds the lines of a text.
    pub fn of(bytes: &[u8]) -> Self {
        Self { breaks: bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(n, _)| n).collect() }
    }

    /// The line that a byte is in, counted from 1. A line break belongs to the line that it ends.
    pub fn line(&self, at: usize) -> usize {
        self.breaks.partition_point(|b| *b < at) + 1
    }

    /// The lines that a range of bytes touches.
    pub fn lines(&self, range: &Range<usize>) -> RangeInclusive<usize> {
        let last = range.end.saturating_sub(1).max(range.start);
        self.line(range.start)..=self.line(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_in_lines() {
        let lines = Lines::of(b"ab\ncd\n\nef");
        assert_eq!([0, 2, 3, 5, 6, 7, 8].map(|at| lines.line(at)), [1, 1, 2, 2, 3, 4, 4]);
        assert_eq!(lines.lines(&(1..4)), 1..=2);
        assert_eq!(lines.lines(&(0..3)), 1..=1);
        assert_eq!(lines.lines(&(7..7)), 4..=4);
        assert_eq!(Lines::of(b"").lines(&(0..0)), 1..=1);
    }
}
