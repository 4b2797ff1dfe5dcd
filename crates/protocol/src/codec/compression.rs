use std::io::{self, Read, Write};

use super::{DecodeError, EncodeError};

/// How bytes become fewer (`kombu/compression.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// `application/x-gzip`: zlib's format, whatever the name says.
    Zlib,
    /// `application/x-bz2`.
    Bzip2,
    /// `application/x-lzma`: the xz format; the older `.lzma` is read too.
    Lzma,
    /// `application/zstd`.
    Zstd,
    /// `application/x-brotli`.
    Brotli,
}

/// The most memory that xz may ask for: its strongest preset needs 65 MiB.
const LZMA_MEMORY: u64 = 128 << 20;

impl Compression {
    /// The compression of a name (`gzip`) or content type.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "application/x-gzip" | "gzip" | "zlib" => Some(Compression::Zlib),
            "application/x-bz2" | "bzip2" | "bzip" => Some(Compression::Bzip2),
            "application/x-lzma" | "lzma" | "xz" => Some(Compression::Lzma),
            "application/zstd" | "zstd" | "zstandard" => Some(Compression::Zstd),
            "application/x-brotli" | "brotli" => Some(Compression::Brotli),
            _ => None,
        }
    }

    /// What the header `compression` says.
    pub fn content_type(self) -> &'static str {
        match self {
            Compression::Zlib => "application/x-gzip",
            Compression::Bzip2 => "application/x-bz2",
            Compression::Lzma => "application/x-lzma",
            Compression::Zstd => "application/zstd",
            Compression::Brotli => "application/x-brotli",
        }
    }

    /// Makes bytes fewer.
    ///
    /// # Errors
    /// When the compressor has no memory left.
    pub fn compress(self, data: &[u8]) -> Result<Vec<u8>, EncodeError> {
        self.deflate(data).map_err(|error| EncodeError::Compression {
            compression: self.content_type(),
            reason: error.to_string(),
        })
    }

    /// Gives the bytes back; at most `limit` of them are ever held.
    ///
    /// # Errors
    /// When they are more than `limit`, broken, or cut off.
    pub fn decompress(self, data: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
        let out = self.inflate(data, limit as u64 + 1).map_err(|error| DecodeError::Compression {
            compression: self.content_type(),
            reason: error.to_string(),
        })?;
        if out.len() > limit { Err(DecodeError::TooLarge { limit }) } else { Ok(out) }
    }

    /// The levels are Python's defaults, but for brotli's, which would take seconds for a megabyte.
    fn deflate(self, data: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Compression::Zlib => {
                let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
                out.write_all(data)?;
                out.finish()
            }
            Compression::Bzip2 => {
                let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
                out.write_all(data)?;
                out.finish()
            }
            Compression::Lzma => {
                let mut out = liblzma::write::XzEncoder::new(Vec::new(), 6);
                out.write_all(data)?;
                out.finish()
            }
            // In one go, so that the frame tells its size: some of Python's readers need it.
            Compression::Zstd => zstd::bulk::compress(data, 3),
            Compression::Brotli => {
                let mut out = Vec::new();
                let parameters = brotli::enc::BrotliEncoderParams { quality: 5, ..Default::default() };
                brotli::BrotliCompress(&mut &data[..], &mut out, &parameters)?;
                Ok(out)
            }
        }
    }

    fn inflate(self, data: &[u8], limit: u64) -> io::Result<Vec<u8>> {
        match self {
            Compression::Zlib => read(flate2::bufread::ZlibDecoder::new(data), limit),
            Compression::Bzip2 => read(bzip2::bufread::MultiBzDecoder::new(data), limit),
            Compression::Lzma => {
                let flags = liblzma::stream::CONCATENATED;
                let stream = liblzma::stream::Stream::new_auto_decoder(LZMA_MEMORY, flags)?;
                read(liblzma::bufread::XzDecoder::new_stream(data, stream), limit)
            }
            Compression::Zstd => read(zstd::stream::read::Decoder::with_buffer(data)?, limit),
            Compression::Brotli => {
                // A large-window stream asks for up to 1 GiB, and Python refuses it too.
                if data.first().is_some_and(|byte| byte & 0x7f == 0x11) {
                    return Err(io::Error::other("large windows are not supported"));
                }
                read(brotli::Decompressor::new(data, 4096), limit)
            }
        }
    }
}

fn read(decoder: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    decoder.take(limit).read_to_end(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bomb without an end would be read for ever.
    #[test]
    fn no_more_is_read_than_may_be() {
        assert_eq!(read(io::repeat(0), 10).unwrap().len(), 10);
    }
}
