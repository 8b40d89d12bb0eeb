//! The compressed bytes on their way into a decoder. What compresses to more than it was is made to cost time: a decoder can
//! be given members, frames and blocks without end that hold nothing.

use std::{
    io::{self, BufRead, Read},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

/// Given to a decoder at a time.
const SLICE: usize = 8 << 10;
/// Compressed bytes for each that comes out. Encoders need one, and a few more where they flush after each event.
const RATIO: usize = 4;

/// A body that ends with an error once much of it has become of nothing.
pub(super) struct Input {
    body: Bytes,
    /// How much of the body has gone into the decoder, and come out of it.
    at: usize,
    written: Arc<AtomicUsize>,
    /// What a decoder may take in before the first byte comes out.
    spare: usize,
}

/// A decoder, whose output is counted for its input.
pub(super) struct CountedDecoder<R> {
    pub(super) decoder: R,
    pub(super) written: Arc<AtomicUsize>,
}

impl Input {
    /// A body, and where what comes out of its decoder is to be counted.
    pub(super) fn new(body: Bytes, spare: usize) -> (Self, Arc<AtomicUsize>) {
        let written = Arc::<AtomicUsize>::default();
        (Self { body, at: 0, written: written.clone(), spare }, written)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.body.len()
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at > self.spare + RATIO * self.written.load(Ordering::Relaxed) {
            return Err(io::Error::other("it is larger than what it holds"));
        }
        let end = self.body.len().min(self.at + SLICE);
        Ok(&self.body[self.at..end])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: Read> Read for CountedDecoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer)?;
        self.written.fetch_add(read, Ordering::Relaxed);
        Ok(read)
    }
}
