//! Header blocks: name-value pairs, compressed over the life of a connection.

use std::collections::HashMap;

use bytes::{Buf, Bytes};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::SpdyError;

/// Bytes of one header block, unpacked.
const BLOCK_BYTES_MAX: usize = 16 * 1024;

/// The words at the start of the dictionary of section 2.6.10.1, each written with its length before it.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host \
    if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";

/// What follows the words in the dictionary.
const PHRASES: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized\
    403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
    Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
    chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,\
    text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// Adler-32 of the dictionary, by which a compressed stream names it.
const DICTIONARY_ID: [u8; 4] = [0xe3, 0xc6, 0xa7, 0xc2];

fn dictionary() -> Vec<u8> {
    let mut dictionary = Vec::new();
    for word in WORDS.split(' ') {
        let word = word.replace('_', " ");
        dictionary.extend_from_slice(&(word.len() as u32).to_be_bytes());
        dictionary.extend_from_slice(word.as_bytes());
    }
    dictionary.extend_from_slice(PHRASES.as_bytes());
    dictionary
}

/// Reads the header blocks of one connection.
pub(in super::super) struct HeaderReader {
    inflate: Decompress,
    started: bool,
}

impl Default for HeaderReader {
    fn default() -> Self {
        Self {
            inflate: Decompress::new(false),
            started: false,
        }
    }
}

impl HeaderReader {
    /// Unpacks and reads the next block.
    pub(in super::super) fn read(&mut self, block: &[u8]) -> Result<HashMap<String, String>, SpdyError> {
        let block = if self.started { block } else { self.start(block)? };
        let bytes = self.unpack(block)?;
        pairs(bytes.into()).ok_or(SpdyError::Headers)
    }

    /// Takes the head of the compressed stream, which may name the dictionary.
    fn start<'a>(&mut self, block: &'a [u8]) -> Result<&'a [u8], SpdyError> {
        self.started = true;
        let (head, rest) = block.split_first_chunk::<2>().ok_or(SpdyError::Headers)?;
        const HAS_DICTIONARY: u8 = 0x20;
        if head[1] & HAS_DICTIONARY == 0 {
            return Ok(rest);
        }
        let (id, rest) = rest.split_first_chunk::<4>().ok_or(SpdyError::Headers)?;
        if *id != DICTIONARY_ID {
            return Err(SpdyError::Headers);
        }
        // A stored block brings the dictionary into the window, which is all that a dictionary is.
        let dictionary = dictionary();
        let length = dictionary.len() as u16;
        let mut stored = vec![0];
        stored.extend_from_slice(&length.to_le_bytes());
        stored.extend_from_slice(&(!length).to_le_bytes());
        stored.extend_from_slice(&dictionary);
        self.unpack(&stored)?;
        Ok(rest)
    }

    fn unpack(&mut self, block: &[u8]) -> Result<Vec<u8>, SpdyError> {
        let mut out = Vec::with_capacity(BLOCK_BYTES_MAX);
        let before = self.inflate.total_in();
        let unpacked = self
            .inflate
            .decompress_vec(block, &mut out, FlushDecompress::Sync);
        unpacked.map_err(|_| SpdyError::Headers)?;
        if self.inflate.total_in() - before != block.len() as u64 {
            return Err(SpdyError::TooBig(BLOCK_BYTES_MAX));
        }
        Ok(out)
    }
}

/// Number of pairs, then name and value of each, each with its length before it.
fn pairs(mut bytes: Bytes) -> Option<HashMap<String, String>> {
    fn text(bytes: &mut Bytes) -> Option<String> {
        let length = bytes.try_get_u32().ok()? as usize;
        if length > bytes.len() {
            return None;
        }
        String::from_utf8(bytes.split_to(length).to_vec()).ok()
    }
    let count = bytes.try_get_u32().ok()?;
    let mut pairs = HashMap::new();
    for _ in 0..count {
        let name = text(&mut bytes)?.to_ascii_lowercase();
        pairs.insert(name, text(&mut bytes)?);
    }
    Some(pairs)
}

/// Writes the header blocks of one connection.
pub(in super::super) struct HeaderWriter {
    deflate: Compress,
}

impl Default for HeaderWriter {
    fn default() -> Self {
        Self {
            deflate: Compress::new(Compression::fast(), true),
        }
    }
}

impl HeaderWriter {
    /// Packs a block without any pairs.
    pub(in super::super) fn empty(&mut self) -> Bytes {
        let mut out = Vec::with_capacity(64);
        // Four bytes fit, packed or not.
        _ = self.deflate.compress_vec(&[0; 4], &mut out, FlushCompress::Sync);
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adler32(bytes: &[u8]) -> u32 {
        let (mut a, mut b) = (1u32, 0u32);
        for byte in bytes {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        b << 16 | a
    }

    #[test]
    fn the_dictionary_is_the_one_that_streams_name() {
        assert_eq!(adler32(&dictionary()).to_be_bytes(), DICTIONARY_ID);
    }

    #[test]
    fn blocks_are_read_one_after_the_other() {
        // Made by a client with the dictionary: two blocks of one compressed stream.
        let mut reader = HeaderReader::default();
        let mut packer = Compress::new(Compression::fast(), false);
        let mut pack = |pairs: &[(&str, &str)]| {
            let mut plain = (pairs.len() as u32).to_be_bytes().to_vec();
            for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
                plain.extend_from_slice(&(text.len() as u32).to_be_bytes());
                plain.extend_from_slice(text.as_bytes());
            }
            let mut out = Vec::with_capacity(1024);
            packer
                .compress_vec(&plain, &mut out, FlushCompress::Sync)
                .unwrap();
            out
        };
        let mut first = vec![0x78, 0xbb];
        first.extend_from_slice(&DICTIONARY_ID);
        first.extend(pack(&[("streamtype", "data"), ("Port", "80")]));
        let read = reader.read(&first).unwrap();
        assert_eq!(
            (read["streamtype"].as_str(), read["port"].as_str()),
            ("data", "80")
        );
        let read = reader.read(&pack(&[("streamtype", "error")])).unwrap();
        assert_eq!(read["streamtype"], "error");
    }

    #[test]
    fn err_broken_blocks_are_refused() {
        for block in [&b""[..], b"x", b"\x78\xbb\0\0\0\0", b"\x78\x9c\xff\xff\xff"] {
            assert!(HeaderReader::default().read(block).is_err(), "{block:?}");
        }
    }
}
