//! Lines of a text as Unix ends them, whatever system saved it: the CSV reader counts no others right.

use std::io::{self, Read};

/// Gives `\n` for `\r\n` and for `\r` alone.
pub(super) struct UnixLines<R> {
    inner: R,
    /// The last byte that was read was `\r`.
    after_return: bool,
}

impl<R> UnixLines<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, after_return: false }
    }
}

impl<R: Read> Read for UnixLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.inner.read(buffer)?;
            let mut kept = 0;
            for at in 0..read {
                let byte = buffer[at];
                if !(byte == b'\n' && self.after_return) {
                    buffer[kept] = if byte == b'\r' { b'\n' } else { byte };
                    kept += 1;
                }
                self.after_return = byte == b'\r';
            }
            // Nothing read is the end; nothing kept is not.
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_a_line_is_one() {
        let text = b"a\r\nb\rc\n\r\n\r\rd\r\n";
        for step in 1..=text.len() {
            let chunks = text
                .chunks(step)
                .fold(Box::new(io::empty()) as Box<dyn Read>, |before, chunk| Box::new(before.chain(chunk)));
            let mut lines = String::new();
            UnixLines::new(chunks).read_to_string(&mut lines).unwrap();
            assert_eq!(lines, "a\nb\nc\n\n\n\nd\n", "{step} bytes at a time");
        }
    }
}
