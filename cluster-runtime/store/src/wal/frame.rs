//! A frame: what is written and synced at once, with its checksums.
//!
//! ```text
//! header, 32 bytes: magic, body length, sequence number, body checksum, header checksum, zero, mark
//! body, padded with zeros
//! mark
//! ```
//!
//! Frames start at multiples of 32 bytes, so that a header never straddles two sectors of a disk. A segment is
//! zeros before it is written: where a write was cut off by a crash, zeros are found, and the mark at the end of
//! header and frame tells a frame that was never finished from one that was damaged later.

use crc32fast::hash as crc32;

pub(crate) const HEADER_BYTES: usize = 32;
const ALIGN: usize = 32;
const MARK_BYTES: usize = 4;
const SECTOR_BYTES: usize = 512;
const MAGIC: [u8; 4] = *b"tugf";
const MARK: [u8; MARK_BYTES] = [0xA5, 0x5A, 0xA5, 0x5A];

/// What is found at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A whole frame.
    Frame {
        body: &'a [u8],
        /// Bytes of the whole frame; the next one starts after them.
        length: usize,
    },
    /// Nothing was ever written from here on.
    Nothing,
    /// A frame whose write was cut off: it was never synced, so nobody was told that it is there.
    Torn,
    /// A frame that was written whole and then damaged.
    Damaged { reason: &'static str },
}

/// Starts a frame in an empty buffer; the body is appended next.
pub(crate) fn begin(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(HEADER_BYTES, 0);
}

/// Ends the frame that the buffer holds.
pub(crate) fn finish(buffer: &mut Vec<u8>, sequence: u64) {
    let body_bytes = buffer.len() - HEADER_BYTES;
    buffer.resize(padded(body_bytes) - MARK_BYTES, 0);
    let body_crc = crc32(&buffer[HEADER_BYTES..]);
    buffer.extend_from_slice(&MARK);
    let header = &mut buffer[..HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&(body_bytes as u32).to_le_bytes());
    header[8..16].copy_from_slice(&sequence.to_le_bytes());
    header[16..20].copy_from_slice(&body_crc.to_le_bytes());
    let header_crc = crc32(&header[..20]);
    header[20..24].copy_from_slice(&header_crc.to_le_bytes());
    header[28..].copy_from_slice(&MARK);
}

/// Bytes that a frame with such a body takes.
pub(crate) fn padded(body_bytes: usize) -> usize {
    (HEADER_BYTES + body_bytes + MARK_BYTES).next_multiple_of(ALIGN)
}

/// Bytes of the whole frame that a header begins; `None` if the header is damaged.
pub(crate) fn length(header: &[u8; HEADER_BYTES]) -> Option<usize> {
    let body_bytes = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    check_header(header).then(|| padded(body_bytes as usize))
}

/// Looks at the rest of a segment, where the frame with a sequence number is expected.
pub(crate) fn find(rest: &[u8], sequence: u64) -> Found<'_> {
    let fault = match check(rest) {
        Ok((found, body, length)) if found == sequence => return Found::Frame { body, length },
        Ok(_) => return damaged("a frame is missing before this one"),
        Err(fault) => fault,
    };
    if rest.iter().all(|byte| *byte == 0) {
        return Found::Nothing;
    }
    let later = (ALIGN..rest.len()).step_by(ALIGN);
    for start in later {
        // A frame is only begun after the one before it was synced.
        if check(&rest[start..]).is_ok_and(|(found, ..)| found > sequence) {
            return damaged("the frame is damaged, frames after it are whole");
        }
    }
    match fault {
        Fault::Header if marked(&rest[..HEADER_BYTES.min(rest.len())]) => {
            damaged("the frame's header is damaged")
        }
        Fault::Header => Found::Torn,
        Fault::Body { length } => {
            let body = &rest[HEADER_BYTES..length];
            // A sector that was never written is zeros; no body of ours has that many.
            let mut sectors = body.windows(SECTOR_BYTES).step_by(ALIGN);
            let unwritten = sectors.any(|sector| sector.iter().all(|byte| *byte == 0));
            if marked(body) && !unwritten {
                damaged("the frame's checksum does not match")
            } else {
                Found::Torn
            }
        }
    }
}

enum Fault {
    Header,
    Body { length: usize },
}

/// The sequence number, body and length of the frame at the start of the bytes.
fn check(bytes: &[u8]) -> Result<(u64, &[u8], usize), Fault> {
    let header = bytes.get(..HEADER_BYTES).ok_or(Fault::Header)?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if !check_header(header) {
        return Err(Fault::Header);
    }
    let body_bytes = word(4) as usize;
    let length = padded(body_bytes);
    let sequence = u64::from(word(8)) | u64::from(word(12)) << 32;
    let rest = bytes.get(HEADER_BYTES..length).ok_or(Fault::Header)?;
    let (padded_body, mark) = rest.split_at(rest.len() - MARK_BYTES);
    if crc32(padded_body) != word(16) || *mark != MARK {
        return Err(Fault::Body { length });
    }
    Ok((sequence, &padded_body[..body_bytes], length))
}

fn check_header(header: &[u8]) -> bool {
    let crc = crc32(&header[..20]).to_le_bytes();
    header[..4] == MAGIC && header[20..24] == crc && header[24..28] == [0; 4] && header[28..] == MARK
}

/// Whether the last bytes were written, also where they were damaged later.
fn marked(bytes: &[u8]) -> bool {
    bytes.last().is_some_and(|byte| *byte != 0)
}

fn damaged(reason: &'static str) -> Found<'static> {
    Found::Damaged { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(sequence: u64, body: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::new();
        begin(&mut buffer);
        buffer.extend_from_slice(body);
        finish(&mut buffer, sequence);
        assert_eq!(buffer.len(), padded(body.len()));
        buffer
    }

    fn bodies() -> [Vec<u8>; 4] {
        let long = (0..3000_u32).map(|byte| (byte % 255) as u8 + 1).collect();
        [vec![], b"x".to_vec(), vec![7; 28], long]
    }

    #[test]
    fn a_frame_is_read_back() {
        for body in bodies() {
            let mut segment = frame(9, &body);
            let length = segment.len();
            segment.resize(length + 4096, 0);
            assert_eq!(find(&segment, 9), Found::Frame { body: &body, length });
            assert_eq!(find(&segment[length..], 10), Found::Nothing);
        }
    }

    #[test]
    fn a_write_cut_off_at_any_byte_is_torn() {
        for body in bodies() {
            let whole = frame(9, &body);
            for cut in 1..whole.len() {
                let mut segment = whole[..cut].to_vec();
                segment.resize(whole.len() + 4096, 0);
                assert_eq!(find(&segment, 9), Found::Torn, "cut at {cut} of {}", whole.len());
            }
        }
    }

    #[test]
    fn sectors_that_were_never_written_make_a_torn_frame() {
        let whole = frame(9, &bodies()[3]);
        for sector in 0..whole.len() / SECTOR_BYTES {
            let mut segment = whole.clone();
            segment[sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES].fill(0);
            segment.resize(whole.len() + 4096, 0);
            assert_eq!(find(&segment, 9), Found::Torn, "sector {sector}");
        }
    }

    #[test]
    fn err_any_flipped_byte_is_noticed() {
        for body in bodies() {
            let whole = frame(9, &body);
            for place in 0..whole.len() {
                for followed in [false, true] {
                    let mut segment = whole.clone();
                    segment[place] ^= 0xff;
                    if followed {
                        segment.extend(frame(10, b"next"));
                    }
                    segment.resize(segment.len() + 4096, 0);
                    let found = find(&segment, 9);
                    let case = format!("byte {place} of {}, followed: {followed}", whole.len());
                    assert!(matches!(found, Found::Damaged { .. }), "{case}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn err_a_frame_that_was_wiped_out_before_another_is_noticed() {
        let mut segment = vec![0; 64];
        segment.extend(frame(10, b"next"));
        assert!(matches!(find(&segment, 9), Found::Damaged { .. }));
        assert!(matches!(find(&frame(10, b"next"), 9), Found::Damaged { .. }));
    }
}
