//! GnuPG's keybox, in which newer versions keep public keys.

/// Where the magic stands in the first block.
const MAGIC: (usize, &[u8]) = (8, b"KBXf");
/// Type of a block with an OpenPGP key.
const OPENPGP: u8 = 2;

/// Tells whether the bytes are a keybox.
pub(crate) fn is_keybox(bytes: &[u8]) -> bool {
    let (at, magic) = MAGIC;
    bytes.get(at..at + magic.len()) == Some(magic)
}

/// The OpenPGP keys of a keybox, one after the other. What is damaged ends them.
pub(crate) fn keys_of(bytes: &[u8]) -> Vec<u8> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some(length) = number(rest, 0).filter(|length| *length > 0)
        && let Some(block) = rest.get(..length)
    {
        if block.get(4) == Some(&OPENPGP)
            && let (Some(start), Some(size)) = (number(block, 8), number(block, 12))
            && let Some(key) = start.checked_add(size).and_then(|end| block.get(start..end))
        {
            keys.extend_from_slice(key);
        }
        rest = &rest[length..];
    }
    keys
}

/// A number of four bytes, the highest first.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 4)?;
    usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(kind: u8, key: &[u8]) -> Vec<u8> {
        let mut block = Vec::new();
        block.extend(u32::try_from(20 + key.len()).unwrap().to_be_bytes());
        block.extend([kind, 1, 0, 0]);
        block.extend(20_u32.to_be_bytes());
        block.extend(u32::try_from(key.len()).unwrap().to_be_bytes());
        block.extend([0; 4]);
        block.extend(key);
        block
    }

    #[test]
    fn keys_are_taken_out_of_their_blocks() {
        let mut bytes = block(1, b"");
        bytes[8..12].copy_from_slice(b"KBXf");
        bytes.extend(block(2, b"one"));
        bytes.extend(block(3, b"x509"));
        bytes.extend(block(2, b"two"));
        assert!(is_keybox(&bytes));
        assert_eq!(keys_of(&bytes), b"onetwo");
        for cut in 0..bytes.len() {
            keys_of(&bytes[..cut]);
        }
        assert!(!is_keybox(b"short"));
    }
}
