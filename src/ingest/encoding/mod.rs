//! Compressed bodies (`Content-Encoding`): a bomb stops at the limit, in memory that is bounded by it.

mod brotli;
mod input;

use std::io::{self, Read};

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use self::{
    brotli::BrotliDecoder,
    input::{CountedDecoder, Input},
};
use crate::limits::admission::{LARGE, Memory, Overloaded};

/// Read at a time.
const CHUNK: usize = 64 << 10;
/// The largest window of zstd, as a power of two: 8 MiB, which is what RFC 9659 asks of `zstd` in HTTP.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A coding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Why a body cannot be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum NotDecompressed {
    #[error("at most {0} bytes are taken, decompressed")]
    TooLarge(usize),
    #[error("the body is not valid {}: {error}", encoding.name())]
    Invalid { encoding: Encoding, error: io::Error },
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
}

impl Encoding {
    pub const ALL: [Self; 4] = [Self::Gzip, Self::Deflate, Self::Brotli, Self::Zstd];

    /// As in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
        Self::ALL.into_iter().find(|encoding| encoding.name().eq_ignore_ascii_case(name))
    }

    /// What its decoder takes in before the first byte comes out: headers with names, or a block and its tables.
    fn spare(self) -> usize {
        match self {
            Self::Gzip | Self::Deflate => 16 << 10,
            Self::Brotli | Self::Zstd => 256 << 10,
        }
    }

    fn decoder(self, body: Bytes) -> io::Result<Box<dyn Read + Send>> {
        let has_zlib_header = has_zlib_header(&body);
        let (input, written) = Input::new(body, self.spare());
        let decoder: Box<dyn Read + Send> = match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(input)),
            // Some clients leave the frame of zlib away, against RFC 9110.
            Self::Deflate if has_zlib_header => Box::new(ZlibDecoder::new(input)),
            Self::Deflate => Box::new(DeflateDecoder::new(input)),
            Self::Brotli => Box::new(BrotliDecoder::new(input)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        };
        Ok(Box::new(CountedDecoder { decoder, written }))
    }
}

/// A body that is being decompressed.
pub struct Decompression {
    encoding: Encoding,
    decoder: Box<dyn Read + Send>,
    /// Bytes as sent, which are held meanwhile.
    sent: usize,
    limit: usize,
    memory: Memory,
    decompressed: Vec<u8>,
}

impl Decompression {
    /// Of a body that may have at most `limit` bytes, for which `memory` must have room beside what it holds.
    pub fn new(
        encoding: Encoding,
        body: Bytes,
        limit: usize,
        memory: Memory,
    ) -> Result<Self, NotDecompressed> {
        let sent = body.len();
        let decoder = encoding.decoder(body).map_err(|error| NotDecompressed::Invalid { encoding, error })?;
        Ok(Self { encoding, decoder, sent, limit, memory, decompressed: Vec::new() })
    }

    /// Whether its beginning takes little time and memory: the other decoders keep a window of up to 16 MiB.
    pub fn is_light(&self) -> bool {
        self.sent < LARGE && matches!(self.encoding, Encoding::Gzip | Encoding::Deflate)
    }

    /// Goes on until everything is there. The most that it can be is reserved at once: pages count when they are written to,
    /// and a vector that grows to 20 MiB by doubling takes twice that in between.
    pub fn finish(&mut self) -> Result<(), NotDecompressed> {
        self.decompressed.reserve_exact(self.limit + CHUNK);
        self.go_on(usize::MAX).map(drop)
    }

    /// Goes on until everything is there, which is true, or there are at least `bytes`.
    pub fn go_on(&mut self, bytes: usize) -> Result<bool, NotDecompressed> {
        let Self { encoding, decoder, sent, limit, memory, decompressed } = self;
        while decompressed.len() < bytes {
            let before = decompressed.len();
            memory.grow_to(*sent + before + CHUNK)?;
            decoder
                .take(CHUNK as u64)
                .read_to_end(decompressed)
                .map_err(|error| NotDecompressed::Invalid { encoding: *encoding, error })?;
            if decompressed.len() > *limit {
                return Err(NotDecompressed::TooLarge(*limit));
            }
            if decompressed.len() == before {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What there is, and the memory that it holds.
    pub fn into_parts(self) -> (Vec<u8>, Memory) {
        (self.decompressed, self.memory)
    }
}

/// RFC 1950: method 8 with a window of at most 32 KiB, and a check of both bytes.
fn has_zlib_header(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..]
        if method & 0x0f == 8 && method >> 4 <= 7 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31))
}

#[cfg(test)]
mod tests {
    use std::{io::Write, time::Duration};

    use bytesize::ByteSize;

    use super::*;
    use crate::{config::Load, limits::admission::Admission, model::project::ProjectId};

    fn memory(body_memory: ByteSize) -> Memory {
        let load = Load { body_memory, max_requests: 2, queue_timeout: Duration::ZERO };
        Admission::new(&load).memory(ProjectId::from_stored(1))
    }

    fn compressed(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::fast();
        match encoding {
            Encoding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Brotli => {
                let mut compressed = Vec::new();
                let params = ::brotli::enc::BrotliEncoderParams { quality: 1, ..Default::default() };
                ::brotli::BrotliCompress(&mut &*bytes, &mut compressed, &params).unwrap();
                compressed
            }
            Encoding::Zstd => zstd::encode_all(bytes, 1).unwrap(),
        }
    }

    fn decompress_in(
        memory: Memory,
        encoding: Encoding,
        body: &[u8],
        limit: usize,
    ) -> Result<Vec<u8>, NotDecompressed> {
        let mut decompression = Decompression::new(encoding, Bytes::copy_from_slice(body), limit, memory)?;
        while !decompression.go_on(decompression.decompressed.len() + 1)? {}
        Ok(decompression.into_parts().0)
    }

    fn decompress(encoding: Encoding, body: &[u8], limit: usize) -> Result<Vec<u8>, NotDecompressed> {
        decompress_in(memory(ByteSize::mib(64)), encoding, body, limit)
    }

    #[test]
    fn what_was_compressed_comes_back() {
        let text = "weir keeps each of them exactly once; ".repeat(10_000).into_bytes();
        for encoding in Encoding::ALL {
            let body = compressed(encoding, &text);
            assert_eq!(decompress(encoding, &body, text.len()).unwrap(), text, "{encoding:?}");
            let cut = decompress(encoding, &body[..body.len() - 9], text.len());
            assert!(matches!(cut, Err(NotDecompressed::Invalid { .. })), "{encoding:?}: {cut:?}");
            let other = decompress(encoding, b"{\"events\":[]}", text.len());
            assert!(matches!(other, Err(NotDecompressed::Invalid { .. })), "{encoding:?}: {other:?}");
            assert_eq!(Encoding::from_name(encoding.name()), Some(encoding));
        }
        let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        bare.write_all(&text).unwrap();
        assert_eq!(decompress(Encoding::Deflate, &bare.finish().unwrap(), text.len()).unwrap(), text);
    }

    #[test]
    fn a_bomb_stops_at_the_limit_or_where_there_is_no_memory() {
        let zeros = vec![0; 20 << 20];
        for encoding in Encoding::ALL {
            let bomb = compressed(encoding, &zeros);
            let stopped = decompress(encoding, &bomb, 1 << 20);
            assert!(matches!(stopped, Err(NotDecompressed::TooLarge(_))), "{encoding:?}: {stopped:?}");
            let stopped = decompress_in(memory(ByteSize::mib(4)), encoding, &bomb, zeros.len());
            assert!(
                matches!(stopped, Err(NotDecompressed::Overloaded(Overloaded::Memory))),
                "{encoding:?}: {stopped:?}"
            );
        }
    }

    #[test]
    fn what_holds_nothing_is_refused_before_it_costs_time() {
        let text = b"one event".as_slice();
        for encoding in Encoding::ALL {
            let full = compressed(encoding, text);
            let empty: &[u8] = match encoding {
                Encoding::Deflate => &[0x00, 0x00, 0x00, 0xff, 0xff], // a stored block
                Encoding::Brotli => &[0x06],                          // a meta-block of metadata
                Encoding::Gzip | Encoding::Zstd => &compressed(encoding, b""),
            };
            let (before, behind) = match encoding {
                Encoding::Deflate => full.split_at(2), // the header of zlib
                Encoding::Brotli => ([0x0c].as_slice(), [0x03].as_slice()),
                Encoding::Gzip | Encoding::Zstd => full.split_at(0),
            };
            for (times, refused) in [(100, false), ((1 << 20) / empty.len(), true)] {
                let body = [before, &empty.repeat(times), behind].concat();
                let result = decompress(encoding, &body, 1 << 20);
                let is_refused = matches!(&result, Err(NotDecompressed::Invalid { error, .. }) if error.to_string().contains("larger"));
                assert_eq!(is_refused, refused, "{encoding:?}: {result:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_compressed_and_what_is_flushed_after_each_event_is_taken() {
        let noise: Vec<u8> =
            (0..250_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for encoding in Encoding::ALL {
            let body = compressed(encoding, &noise);
            assert!(decompress(encoding, &body, noise.len()).unwrap() == noise, "{encoding:?}");
        }
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for event in 0..100_000 {
            write!(encoder, "{{\"n\":{event}}}").unwrap();
            encoder.flush().unwrap();
        }
        let body = encoder.finish().unwrap();
        decompress(Encoding::Gzip, &body, 20 << 20).unwrap();
    }

    #[test]
    fn a_window_that_http_does_not_know_is_refused() {
        // A frame of zstd that asks for a window of 2^31 bytes, and a stream of brotli that asks for one of 2^30.
        let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
        let brotli = [0x11, 0x1e, 0x03];
        for (encoding, body) in [(Encoding::Zstd, &zstd[..]), (Encoding::Brotli, &brotli)] {
            let refused = decompress(encoding, body, 1 << 20);
            assert!(matches!(refused, Err(NotDecompressed::Invalid { .. })), "{encoding:?}: {refused:?}");
        }
    }
}
