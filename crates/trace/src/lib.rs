//! Whose words: from a text that somebody found to the outputs that it was taken from.
