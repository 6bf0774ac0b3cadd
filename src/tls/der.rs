//! As much of DER as certificates and public keys need: one element behind the other, each a tag, a length and content.
//! Knows no structure; whoever asks says which tag is expected.

/// Tags of ASN.1 that are asked for.
pub mod tag {
    /// A whole number.
    pub const INTEGER: u8 = 0x02;
    /// Bits, as a key is written.
    pub const BIT_STRING: u8 = 0x03;
    /// The name of an algorithm.
    pub const OBJECT_IDENTIFIER: u8 = 0x06;
    /// A time with two digits of the year.
    pub const UTC_TIME: u8 = 0x17;
    /// A time with four.
    pub const GENERALIZED_TIME: u8 = 0x18;
    /// Elements, one behind the other.
    pub const SEQUENCE: u8 = 0x30;
    /// `[0]` around the version of a certificate.
    pub const CONTEXT_0: u8 = 0xa0;
}

/// Elements that have not been looked at yet.
#[derive(Clone, Copy, Debug)]
pub struct Der<'a>(pub &'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next element, when it has this tag; the element is passed then.
    pub fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content, rest) = split(self.0)?;
        (found == tag).then(|| {
            self.0 = rest;
            content
        })
    }

    /// What is inside the next element, when it has this tag.
    pub fn enter(&mut self, tag: u8) -> Option<Der<'a>> {
        self.next(tag).map(Der)
    }

    /// Passes the next element, whatever it is.
    pub fn skip(&mut self) -> Option<()> {
        (_, _, self.0) = split(self.0)?;
        Some(())
    }

    /// Whether nothing is left.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// Tag, content, and what follows. Lengths of more than four bytes and tags of more than one do not occur in what we read.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits.iter().fold(0_u64, |length, digit| length << 8 | u64::from(*digit));
            (usize::try_from(length).ok()?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_one_behind_the_other() {
        let long = [vec![0x03, 0x82, 0x01, 0x00], vec![7; 256]].concat();
        let bytes = [&[0x30, 5, 0x02, 1, 9, 0x06, 0][..], &long].concat();
        let mut der = Der(&bytes);
        let mut inside = der.enter(tag::SEQUENCE).expect("a sequence");
        assert_eq!(inside.next(tag::BIT_STRING), None, "another tag is not passed");
        assert_eq!(inside.next(tag::INTEGER), Some(&[9][..]));
        assert_eq!(inside.skip(), Some(()));
        assert!(inside.is_empty());
        assert_eq!(der.next(tag::BIT_STRING), Some(&[7; 256][..]));
        assert_eq!(der.skip(), None);
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_nothing() {
        for bytes in [&[][..], &[0x30], &[0x30, 2, 0], &[0x30, 0x82, 1], &[0x30, 0x80, 0], &[0x30, 0x85, 0, 0, 0, 0, 1]]
        {
            assert_eq!(Der(bytes).next(tag::SEQUENCE), None, "{bytes:?}");
        }
        assert_eq!(Der(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).skip(), None);
    }
}
