//! What takes messages from the stream.

pub(crate) mod writer;
