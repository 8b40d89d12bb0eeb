//! `br`.

use std::io::{self, BufRead, Read};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::input::Input;

/// The crate's own reader takes windows of up to 1 GiB, which are no part of `br`: a few bytes would ask for that much.
pub(super) struct BrotliDecoder {
    input: Input,
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    written: usize,
    ended: bool,
}

impl BrotliDecoder {
    pub(super) fn new(input: Input) -> Self {
        let alloc = StandardAlloc::default;
        let state = Box::new(BrotliState::new_strict(alloc(), alloc(), alloc()));
        Self { input, state, written: 0, ended: false }
    }
}

impl Read for BrotliDecoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (mut available_out, mut at_out) = (buffer.len(), 0);
        while !self.ended && at_out == 0 && available_out > 0 {
            let slice = self.input.fill_buf()?;
            let is_empty = slice.is_empty();
            let (mut available_in, mut at_in) = (slice.len(), 0);
            let result = BrotliDecompressStream(
                &mut available_in,
                &mut at_in,
                slice,
                &mut available_out,
                &mut at_out,
                buffer,
                &mut self.written,
                &mut self.state,
            );
            self.input.consume(at_in);
            match result {
                BrotliResult::ResultSuccess if self.input.is_at_end() => self.ended = true,
                BrotliResult::ResultSuccess => return Err(io::Error::other("there is more behind its end")),
                BrotliResult::NeedsMoreInput if is_empty && at_out == 0 => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
                BrotliResult::ResultFailure => return Err(io::Error::other("corrupt data")),
            }
        }
        Ok(at_out)
    }
}
