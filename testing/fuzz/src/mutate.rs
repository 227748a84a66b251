//! Inputs made from inputs: a few small changes to one that is kept.

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers from the same seed, everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        self.draw().checked_rem(bound as u64).unwrap_or_default() as usize
    }
}

/// An endless supply of inputs.
#[derive(Debug)]
pub struct Mutator<'c> {
    random: Random,
    corpus: &'c [Vec<u8>],
}

impl<'c> Mutator<'c> {
    /// Inputs like those in `corpus`, the same from the same seed.
    pub const fn new(corpus: &'c [Vec<u8>], seed: u64) -> Self {
        Self { random: Random::new(seed), corpus }
    }

    /// The next input.
    pub fn input(&mut self) -> Vec<u8> {
        let mut bytes = self.kept().to_vec();
        for _ in 0..=self.random.below(4) {
            self.change(&mut bytes);
        }
        bytes.truncate(MOST);
        bytes
    }

    fn kept(&mut self) -> &'c [u8] {
        let corpus = self.corpus;
        corpus.get(self.random.below(corpus.len())).map(Vec::as_slice).unwrap_or_default()
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.random.below(bytes.len() + 1);
        let end = at + self.random.below(bytes.len() - at + 1);
        match self.random.below(9) {
            0 => {
                let bit = self.random.below(8);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
            1 => {
                let value = self.random.draw() as u8;
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = value);
            }
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let part: Vec<u8> = bytes.iter().skip(at).take((end - at).min(64)).copied().collect();
                let times = self.random.below(32);
                let many = part.repeat(times);
                drop(bytes.splice(at..at, many));
            }
            5 => {
                let other = self.kept();
                let from = self.random.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend(other.iter().skip(from));
            }
            6 => {
                let digit = b'0' + self.random.below(10) as u8;
                let digits = bytes.iter_mut().skip(at).filter(|byte| byte.is_ascii_digit());
                digits.take(1).for_each(|byte| *byte = digit);
            }
            _ => {
                let token = WORDS.get(self.random.below(WORDS.len())).copied().unwrap_or_default();
                let end = if self.random.below(2) == 0 { at } else { end.min(at + token.len()) };
                drop(bytes.splice(at..end, token.bytes()));
            }
        }
    }
}

/// Good bytes with some of them changed: three bytes of `edits` to a change, the place (big-endian) and the value.
pub(crate) fn edited(good: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for edit in edits.chunks_exact(3) {
        let [high, low, value] = *edit else { continue };
        let place = usize::from(u16::from_be_bytes([high, low])).checked_rem(bytes.len()).unwrap_or_default();
        bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte = value);
    }
    bytes
}

/// Far above any limit that a parser has to hold.
const MOST: usize = 64 << 10;

/// What the formats are made of.
const WORDS: &[&str] = &[
    "spiffe://",
    "user:",
    "task_",
    "lease_",
    "inst_",
    "elev_",
    "rec_",
    "01JD0000000000000000000000",
    "sha256:",
    "unix:uid:",
    ":",
    "/",
    "//",
    ".",
    "..",
    "*",
    ",",
    ";",
    ";sensitivity=internal",
    "invoke",
    "tool:",
    "dataset:",
    "\u{e4}",
    "\u{2014} ",
    "\n",
    "\n\n",
    "\r\n",
    " ",
    "\t",
    "\0",
    "=",
    "==",
    "+",
    "-",
    "0",
    "-1",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775808",
    "1e999",
    "null",
    "true",
    "{}",
    "[]",
    "{",
    "[",
    "}",
    "]",
    "\"",
    "\\u0000",
    "\\ud800",
    "tile/",
    "tile/entries/",
    "x001/",
    ".p/255",
    ".p/256",
    "checkpoint",
    "index ",
    "extra ",
    "AAAA",
    "eyJhbGciOiJub25lIn0",
    "d",
    "h",
    "permit (principal, action, resource);",
    "@id(\"x\")",
    "@elevation(\"x\")",
    "@ttl(\"0s\")",
    "when { ",
    "unless { ",
    "}",
    "context.call.getTag(\"a\")",
    " like \"*\"",
    "(",
    ")",
    "!",
    "&&",
    "?principal",
    "\"id\":",
    "old 0\n\n",
    "witness w1 ",
    "group g all ",
    "quorum none\n",
    "\"keys\":[",
    "\"spiffe_sequence\":",
    "https://",
    "PK\u{3}\u{4}",
    "Agent-Action: rec_",
    "2026-03-01T09:30:00Z",
    "\"kind\":\"revoked\",",
];
