//! What can go wrong while exporting.

/// Why nothing came out.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// An event could not be written as JSON.
    #[error("an event cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// A column, a page or the number of rows is larger than the file format can say.
    #[error("the batch is too large for one file")]
    TooLarge,
    /// A statement needs a digest to speak of, and only its commitment is known here.
    #[error("the digest of `{0}` is not known here, only the commitment to it")]
    Closed(String),
}

/// The result of an export.
pub type Result<T> = std::result::Result<T, ExportError>;
