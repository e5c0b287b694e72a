//! Records of TLS 1.3 with AES-128-GCM, sealed and opened in buffers of the caller (RFC 8446, 5.2).

use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;

/// The length of a record's head.
pub(crate) const HEAD: usize = 5;

/// What a full record carries.
pub(crate) const FULL: usize = 16_384;

/// What sealing adds: the head, the byte that tells the kind, and the tag.
pub(crate) const OVERHEAD: usize = HEAD + 1 + TAG;

const TAG: usize = 16;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Alert = 21,
    Handshake = 22,
    Data = 23,
}

/// The key of one direction, and how many records it has seen.
pub(crate) struct Half {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Half {
    pub(crate) fn new(
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
    ) -> anyhow::Result<Self> {
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
            bail!("AES-128-GCM was not negotiated");
        };
        let iv = iv.as_ref().try_into().context("an IV of 12 bytes")?;
        Self::with_key(key.as_ref(), iv, sequence)
    }

    pub(crate) fn with_key(key: &[u8], iv: [u8; 12], sequence: u64) -> anyhow::Result<Self> {
        let key = UnboundKey::new(&AES_128_GCM, key).context("a key of 16 bytes")?;
        Ok(Self { key: LessSafeKey::new(key), iv, sequence })
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        let sequence = self.sequence.to_be_bytes();
        nonce[4..].iter_mut().zip(sequence).for_each(|(byte, with)| *byte ^= with);
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    /// Appends a record.
    pub(crate) fn seal(
        &mut self,
        kind: Kind,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> anyhow::Result<()> {
        let length = u16::try_from(plain.len() + 1 + TAG).context("a record that is too long")?;
        let [high, low] = length.to_be_bytes();
        let head = [Kind::Data as u8, 3, 3, high, low];
        out.extend_from_slice(&head);
        let start = out.len();
        out.extend_from_slice(plain);
        out.push(kind as u8);
        let nonce = self.nonce();
        let sealed = self.key.seal_in_place_separate_tag(nonce, Aad::from(head), &mut out[start..]);
        out.extend_from_slice(sealed.context("sealing a record")?.as_ref());
        Ok(())
    }

    /// Opens a record, head included, where it lies.
    pub(crate) fn open<'a>(&mut self, record: &'a mut [u8]) -> anyhow::Result<(Kind, &'a [u8])> {
        ensure!(record.len() > OVERHEAD, "a record that is too short");
        let (head, body) = record.split_at_mut(HEAD);
        let nonce = self.nonce();
        let inner =
            self.key.open_in_place(nonce, Aad::from(&*head), body).context("opening a record")?;
        let last = inner.iter().rposition(|byte| *byte != 0).context("a record of zeros")?;
        let kind = match inner[last] {
            21 => Kind::Alert,
            22 => Kind::Handshake,
            23 => Kind::Data,
            other => bail!("a record of type {other}"),
        };
        Ok((kind, &inner[..last]))
    }
}

/// How long the record is that starts here, head included, once its head is there.
pub(crate) fn length(start: &[u8]) -> Option<usize> {
    let [_, _, _, high, low] = start.get(..HEAD)?.try_into().ok()?;
    Some(HEAD + usize::from(u16::from_be_bytes([high, low])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half() -> Half {
        Half::with_key(&[7; 16], [9; 12], 0).expect("a key")
    }

    #[test]
    fn what_was_sealed_is_opened_in_order_and_not_again() {
        let (mut sealing, mut opening) = (half(), half());
        let mut wire = Vec::new();
        sealing.seal(Kind::Data, b"one", &mut wire).expect("sealed");
        sealing.seal(Kind::Alert, &[1, 0], &mut wire).expect("sealed");
        let first = length(&wire).expect("a whole head");
        assert_eq!(first, 3 + OVERHEAD);
        let (one, two) = wire.split_at_mut(first);
        let mut again = two.to_vec();
        assert_eq!(opening.open(one).expect("opened"), (Kind::Data, &b"one"[..]));
        assert_eq!(opening.open(two).expect("opened"), (Kind::Alert, &[1, 0][..]));
        assert!(opening.open(&mut again).is_err());
    }

    #[test]
    fn a_length_needs_the_whole_head() {
        assert_eq!(length(&[23, 3, 3, 1]), None);
        assert_eq!(length(&[23, 3, 3, 1, 2, 0]), Some(HEAD + 258));
    }
}
