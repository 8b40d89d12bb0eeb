//! The bytes of a file as UTF-8 text with Unix' ends of lines, however it was saved: compressed, in UTF-16, on Windows.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use encoding_rs_io::DecodeReaderBytes;
use flate2::read::MultiGzDecoder;

use super::line_endings::UnixLines;

/// How gzip begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A file that is being read.
pub(super) struct InputFile {
    pub(super) text: Box<dyn BufRead + Send>,
    /// Bytes of the file that were read so far, and in all.
    pub(super) read: Arc<AtomicU64>,
    pub(super) size: u64,
}

impl InputFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let read = Arc::<AtomicU64>::default();
        let mut bytes = BufReader::new(Counted { file, read: read.clone() });
        let is_compressed = bytes.fill_buf()?.starts_with(&GZIP);
        let bytes: Box<dyn Read + Send> =
            if is_compressed { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
        // By its byte order mark; without one it is taken as it is.
        let text = UnixLines::new(DecodeReaderBytes::new(bytes));
        Ok(Self { text: Box::new(BufReader::new(text)), read, size })
    }
}

struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
