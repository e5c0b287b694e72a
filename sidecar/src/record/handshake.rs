//! Handshake messages that come after the handshake; pure.

use super::error::Error;

/// The most that is kept of a message that comes in pieces: a session ticket, which we do not want.
const LONGEST: usize = 16 * 1024;

/// What the peer says about its keys, and whatever else it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// From now on it seals with its next key; it may ask for the same of us (RFC 8446, 4.6.3).
    KeyUpdate {
        /// Whether it asks for ours.
        wanted: bool,
    },
    /// A ticket, which is thrown away: who resumes a session skips the check of who it is.
    Ticket,
}

/// Messages as they come in records, in pieces or several in one.
#[derive(Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
}

impl Messages {
    /// Whether a message is there in part only: nothing but its rest may come now.
    pub(super) fn is_between(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Takes what one record holds.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.bytes.len() + bytes.len() > LONGEST {
            return Err(Error::TooLong);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole message.
    pub(super) fn next(&mut self) -> Result<Option<Message>, Error> {
        let Some([kind, a, b, c]) = self.bytes.first_chunk::<4>().copied() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        if len > LONGEST {
            return Err(Error::TooLong);
        }
        let Some(body) = self.bytes.get(4..4 + len) else { return Ok(None) };
        let message = message(kind, body)?;
        self.bytes.drain(..4 + len);
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        // What follows a key update is sealed with the next key: it cannot be of the same record.
        if matches!(message, Message::KeyUpdate { .. }) && self.is_between() {
            return Err(Error::Unexpected("a message behind a key update"));
        }
        Ok(Some(message))
    }
}

fn message(kind: u8, body: &[u8]) -> Result<Message, Error> {
    match (kind, body) {
        (24, [0]) => Ok(Message::KeyUpdate { wanted: false }),
        (24, [1]) => Ok(Message::KeyUpdate { wanted: true }),
        (24, _) => Err(Error::Malformed("a key update")),
        (4, _) => Ok(Message::Ticket),
        _ => Err(Error::Unexpected("a handshake message")),
    }
}

/// The key update that is sent: an answer, or for a key that was used long enough.
pub(super) const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(records: &[&[u8]]) -> Result<Vec<Message>, Error> {
        let mut messages = Messages::default();
        let mut found = Vec::new();
        for record in records {
            messages.push(record)?;
            while let Some(message) = messages.next()? {
                found.push(message);
            }
        }
        Ok(found)
    }

    #[test]
    fn messages_come_in_pieces_or_several_in_a_record() {
        let ticket = Message::Ticket;
        let update = |wanted| Message::KeyUpdate { wanted };
        let cases: [(&[&[u8]], _); 8] = [
            (&[&KEY_UPDATE], Ok(vec![update(false)])),
            (&[&[24, 0, 0], &[1, 1]], Ok(vec![update(true)])),
            (&[&[4, 0, 0, 1, 9, 4, 0, 0, 0]], Ok(vec![ticket, ticket])),
            (&[&[24, 0, 0, 1, 2]], Err(Error::Malformed("a key update"))),
            (&[&[24, 0, 0, 0]], Err(Error::Malformed("a key update"))),
            (&[&[24, 0, 0, 1, 0, 4]], Err(Error::Unexpected("a message behind a key update"))),
            (&[&[1, 0, 0, 0]], Err(Error::Unexpected("a handshake message"))),
            (&[&[4, 0, 0x40, 0x01]], Err(Error::TooLong)),
        ];
        for (records, expected) in cases {
            assert_eq!(read(records), expected, "{records:?}");
        }
    }
}
