//! Whose words: from a text that somebody found to the outputs that it was taken from.
//!
//! The crate is pure and knows only bytes: what is on record is asked of an [`Index`], and what its numbers stand for is
//! the caller's business. A trace goes down a ladder, and every step can be run alone:
//!
//! | step | here |
//! |---|---|
//! | receipts that the text carries itself | [`receipts`] |
//! | what the bytes say once they are decoded | [`variants`] |
//! | the form that reformatting does not change | [`normalise`], [`normalised_digest`] |
//! | prints of its parts | [`fingerprints`], [`Winnower`] |
//! | who had them, and in which lines | [`attribute`] |
//!
//! | word | meaning |
//! |---|---|
//! | **Normalised** | NFKC, case folded, letters and digits only |
//! | **[`Print`]** | the hash of 32 normalised characters that winnowing chose, and where they stand |
//! | **[`Variant`]** | the found bytes, or what some [`Step`]s of decoding made of them |
//! | **Document** | an output on record; here only a number |
//! | **Spread** | in how many independent works a print occurs; what occurs everywhere says nothing |
//! | **[`Class`]** | how sure an answer is. A weak fragment is a hint and never an attribution |

mod attribute;
mod class;
mod decode;
mod lines;
mod normalise;
mod prints;
mod spans;
mod trailer;
mod window;

pub use attribute::{Attribution, COMMON, Index, Match, Posting, attribute};
pub use class::Class;
pub use decode::{Decoded, Limits, Step, Variant, variants};
pub use lines::Lines;
pub use normalise::{Normalised, normalise, normalised_digest};
pub use prints::{Fingerprint, GRAM, Print, WINDOW, Winnower, fingerprints, guarantee};
pub use spans::Span;
pub use trailer::{Carrier, Receipt, receipts};
