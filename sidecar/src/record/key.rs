//! The key of one direction: seals or opens single records.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce,
    UnboundKey,
};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};

use super::error::Error;
use super::{HEADER, MAX_PLAINTEXT, kind};

const TAG: usize = 16;
const EXPLICIT: usize = 8;

/// How a record looks on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The kind is sealed along; the header is what is authenticated (RFC 8446, 5.2).
    Tls13,
    /// The nonce's second half goes before the ciphertext (RFC 5288, 3).
    Tls12Explicit,
    /// The nonce is made of the sequence number, as in TLS 1.3 (RFC 7905, 2).
    Tls12Implicit,
}

/// A key, and how many records it was used for. Nothing prints it.
pub(super) struct Key {
    aead: LessSafeKey,
    iv: [u8; NONCE_LEN],
    form: Form,
    sequence: u64,
}

impl Key {
    pub(super) fn new(
        secrets: ConnectionTrafficSecrets,
        sequence: u64,
        version: ProtocolVersion,
    ) -> Result<Self, Error> {
        let unfit = || Error::Keys("the key does not fit its cipher".to_owned());
        let (algorithm, key, iv): (&Algorithm, _, _) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(unfit()),
        };
        let form = match version {
            ProtocolVersion::TLSv1_3 => Form::Tls13,
            _ if algorithm == &CHACHA20_POLY1305 => Form::Tls12Implicit,
            _ => Form::Tls12Explicit,
        };
        let aead = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| unfit())?;
        let iv = iv.as_ref().try_into().map_err(|_| unfit())?;
        Ok(Self { aead: LessSafeKey::new(aead), iv, form, sequence })
    }

    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn is_tls13(&self) -> bool {
        self.form == Form::Tls13
    }

    /// Sequence number and initial vector, each bit of which differs between two records
    /// (RFC 8446, 5.3).
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, more) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= more;
        }
        nonce
    }

    /// What a record of TLS 1.2 is authenticated with (RFC 5246, 6.2.3.3).
    fn aad12(&self, kind: u8, plain: usize) -> [u8; 13] {
        let mut aad = [0; 13];
        aad[..8].copy_from_slice(&self.sequence.to_be_bytes());
        aad[8..11].copy_from_slice(&[kind, 3, 3]);
        aad[11..].copy_from_slice(&length(plain));
        aad
    }

    /// Seals a piece of at most 16 KiB into one record at the start of `out`; its length.
    pub(super) fn seal(&mut self, kind: u8, plain: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let nonce = self.nonce();
        let sealed = match self.form {
            Form::Tls13 => self.seal13(kind, nonce, plain, out),
            Form::Tls12Explicit => self.seal12(kind, nonce, plain, out, &nonce[4..]),
            Form::Tls12Implicit => self.seal12(kind, nonce, plain, out, &[]),
        };
        let written = sealed.ok_or(Error::Exhausted)?;
        self.sequence = self.sequence.checked_add(1).ok_or(Error::Exhausted)?;
        Ok(written)
    }

    fn seal13(
        &self,
        kind: u8,
        nonce: [u8; NONCE_LEN],
        plain: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        let body = plain.len() + 1 + TAG;
        let (header, out) = out.split_first_chunk_mut::<HEADER>()?;
        let [high, low] = length(body);
        *header = [kind::DATA, 3, 3, high, low];
        let (sealed, end) = out.get_mut(..body)?.split_at_mut(plain.len());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(*header);
        self.aead.seal_out_of_place_scatter(nonce, aad, plain, sealed, &[kind], end).ok()?;
        Some(HEADER + body)
    }

    fn seal12(
        &self,
        kind: u8,
        nonce: [u8; NONCE_LEN],
        plain: &[u8],
        out: &mut [u8],
        explicit: &[u8],
    ) -> Option<usize> {
        let body = explicit.len() + plain.len() + TAG;
        let (header, out) = out.split_first_chunk_mut::<HEADER>()?;
        let [high, low] = length(body);
        *header = [kind, 3, 3, high, low];
        let (before, rest) = out.get_mut(..body)?.split_at_mut(explicit.len());
        before.copy_from_slice(explicit);
        let (sealed, tag) = rest.split_at_mut(plain.len());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(self.aad12(kind, plain.len()));
        self.aead.seal_out_of_place_scatter(nonce, aad, plain, sealed, &[], tag).ok()?;
        Some(HEADER + body)
    }

    /// Opens one whole record into the start of `out`: what kind it is, and how many bytes.
    pub(super) fn open(&mut self, record: &[u8], out: &mut [u8]) -> Result<(u8, usize), Error> {
        let (header, body) = record.split_first_chunk::<HEADER>().ok_or(Error::Changed)?;
        let opened = match self.form {
            Form::Tls13 => self.open13(header, body, out),
            Form::Tls12Explicit => self.open_explicit(header[0], body, out),
            Form::Tls12Implicit => self.open12(header[0], self.nonce(), body, out),
        }?;
        self.sequence = self.sequence.checked_add(1).ok_or(Error::Exhausted)?;
        if opened.1 > MAX_PLAINTEXT { Err(Error::TooLong) } else { Ok(opened) }
    }

    fn open13(
        &self,
        header: &[u8; HEADER],
        body: &[u8],
        out: &mut [u8],
    ) -> Result<(u8, usize), Error> {
        let (sealed, tag) = body.split_last_chunk::<TAG>().ok_or(Error::Changed)?;
        let out = out.get_mut(..sealed.len()).ok_or(Error::TooLong)?;
        let nonce = Nonce::assume_unique_for_key(self.nonce());
        self.aead
            .open_separate_gather(nonce, Aad::from(*header), sealed, tag, out)
            .map_err(|_| Error::Changed)?;
        // The kind is the last byte that is not zero; those behind it are padding.
        let place = out.iter().rposition(|byte| *byte != 0);
        let place = place.ok_or(Error::Unexpected("a record of nothing but padding"))?;
        Ok((out[place], place))
    }

    fn open_explicit(&self, kind: u8, body: &[u8], out: &mut [u8]) -> Result<(u8, usize), Error> {
        let (explicit, rest) = body.split_first_chunk::<EXPLICIT>().ok_or(Error::Changed)?;
        let mut nonce = self.iv;
        nonce[4..].copy_from_slice(explicit);
        self.open12(kind, nonce, rest, out)
    }

    fn open12(
        &self,
        kind: u8,
        nonce: [u8; NONCE_LEN],
        body: &[u8],
        out: &mut [u8],
    ) -> Result<(u8, usize), Error> {
        let (sealed, tag) = body.split_last_chunk::<TAG>().ok_or(Error::Changed)?;
        let out = out.get_mut(..sealed.len()).ok_or(Error::TooLong)?;
        let aad = Aad::from(self.aad12(kind, sealed.len()));
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.aead.open_separate_gather(nonce, aad, sealed, tag, out).map_err(|_| Error::Changed)?;
        Ok((kind, out.len()))
    }
}

/// A length as two bytes; records are never longer.
fn length(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}
