//! Numbers and texts from a seed: the same seed gives the same events.

/// xorshift64*: fast, and random enough to spread work.
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound.max(1)
    }

    /// One of a list.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len()))
    }

    /// 128 bits, for identifiers.
    pub fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }
}

/// Words that texts are made of; those at the front come more often.
pub struct Words(Vec<String>);

impl Words {
    /// A vocabulary.
    pub fn new(random: &mut Random) -> Self {
        let word = |_| -> String {
            let syllables = 1 + random.below(3);
            (0..syllables).filter_map(|_| random.pick(&SYLLABLES).copied()).collect()
        };
        Self((0..VOCABULARY).map(word).collect())
    }

    /// A text of at least so many bytes, in lines of some seventy.
    pub fn text(&self, random: &mut Random, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 80);
        let mut line = 0;
        while text.len() < bytes {
            let place = random.below(VOCABULARY) * random.below(VOCABULARY) / VOCABULARY;
            let word = self.0.get(place).map_or("", String::as_str);
            text.push_str(word);
            line += word.len() + 1;
            text.push(if line > 70 { '\n' } else { ' ' });
            line = if line > 70 { 0 } else { line };
        }
        text
    }
}

const VOCABULARY: usize = 6000;
const SYLLABLES: [&str; 32] = [
    "ka", "lo", "ren", "ti", "mas", "vor", "el", "su", "pra", "din", "ho", "gar", "ne", "bil", "tor", "ash", "qui", "fen", "mo",
    "lar", "ster", "un", "dra", "ve", "ci", "jo", "pel", "ran", "wi", "ox", "tal", "er",
];
