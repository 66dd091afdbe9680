//! Packets as keyrings frame them.
//!
//! <https://www.rfc-editor.org/rfc/rfc9580.html#name-packet-headers>

/// What gpg notes for itself between the packets of a key; it is no part of the key.
const TRUST: u8 = 12;

/// The packets without gpg's notes on trust, which would tear names and signatures apart. What is not framed as packets
/// stays as it is.
pub(crate) fn without_trust(bytes: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some((tag, length)) = frame(rest).filter(|(_, length)| *length <= rest.len()) else {
            kept.extend_from_slice(rest);
            break;
        };
        let (packet, after) = rest.split_at(length);
        if tag != TRUST {
            kept.extend_from_slice(packet);
        }
        rest = after;
    }
    kept
}

/// The kind of the first packet, and its length with its head. `None` where the length is not told at the beginning.
fn frame(bytes: &[u8]) -> Option<(u8, usize)> {
    let first = *bytes.first()?;
    let number = |from: usize, count: usize| -> Option<usize> {
        let digits = bytes.get(from..from + count)?;
        Some(
            digits
                .iter()
                .fold(0, |number, digit| number << 8 | usize::from(*digit)),
        )
    };
    let (tag, head, body) = match first >> 6 {
        0b10 => {
            let count = match first & 3 {
                0 => 1,
                1 => 2,
                2 => 4,
                _ => return None,
            };
            ((first >> 2) & 15, 1 + count, number(1, count)?)
        }
        0b11 => {
            let (head, body) = match number(1, 1)? {
                short @ 0..192 => (2, short),
                long @ 192..224 => (3, ((long - 192) << 8) + number(2, 1)? + 192),
                255 => (6, number(2, 4)?),
                _ => return None,
            };
            (first & 63, head, body)
        }
        _ => return None,
    };
    Some((tag, head.checked_add(body)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_on_trust_are_left_out() {
        let key = [0x98, 2, 7, 7];
        let long = [0x99, 0, 3, 1, 2, 3];
        let new = [0xcd, 1, 9];
        let trust = [0xb0, 2, 0, 0];
        let new_trust = [0xcc, 1, 0];
        let bytes = [&key[..], &trust, &long, &new_trust, &new, &trust].concat();
        assert_eq!(without_trust(&bytes), [&key[..], &long, &new].concat());
    }

    #[test]
    fn err_what_is_not_framed_stays() {
        for bytes in [
            &b"-----BEGIN"[..],
            &[0x98],
            &[0x98, 9, 1],
            &[0x9b, 1, 2],
            &[0xcd, 230, 1],
            &[0xcd, 255, 255, 255, 255, 255],
        ] {
            assert_eq!(without_trust(bytes), bytes);
        }
    }
}
