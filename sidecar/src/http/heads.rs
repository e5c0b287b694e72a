//! When the head of a request begins, by what a client sends; pure.
//!
//! Only for the clock that a head has, and for the log: hyper alone reads requests. In HTTP/1.1 a head
//! begins with the first byte that is no empty line (RFC 9112, 2.2) while the connection rests. In HTTP/2
//! it is a HEADERS frame, and ends with the frame that has END_HEADERS (RFC 9113, 4.3): no other frame is
//! part of one, so that a client may send PING, SETTINGS and WINDOW_UPDATE as it likes.

use super::serve::PREFACE;

/// The longest first line of a head that is remembered.
const MAX_LINE: usize = 512;

/// The length of a frame's header (RFC 9113, 4.1).
const FRAME_HEADER: usize = 9;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// What a client has sent so far.
#[derive(Debug)]
pub(super) enum Heads {
    /// So many bytes of the preface of HTTP/2.
    Preface(usize),
    /// The first line of the head that has begun last; whether more of it may come.
    Http1 {
        line: Vec<u8>,
        is_open: bool,
    },
    Http2(Frames),
}

/// Where in a stream of frames the client is.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: Vec<u8>,
    /// How much of the frame's payload is still to come.
    left: usize,
    /// Whether a list of headers has begun whose end has not come.
    is_open: bool,
    /// Whether the frame that is coming ends it.
    ends: bool,
}

impl Default for Heads {
    fn default() -> Self {
        Self::Preface(0)
    }
}

impl Heads {
    /// Whether a head is open once these bytes came, of a connection that rests or does not.
    pub(super) fn hear(&mut self, bytes: &[u8], rests: bool) -> bool {
        match self {
            Self::Preface(seen) => {
                let len = bytes.len().min(PREFACE.len() - *seen);
                if bytes[..len] != PREFACE[*seen..*seen + len] {
                    let before = &PREFACE[..*seen];
                    *self = Self::Http1 { line: Vec::new(), is_open: false };
                    return self.hear(&[before, bytes].concat(), rests);
                }
                *seen += len;
                if *seen < PREFACE.len() {
                    return *seen > 0;
                }
                let mut frames = Frames::default();
                frames.hear(&bytes[len..]);
                let is_open = frames.is_open;
                *self = Self::Http2(frames);
                is_open
            }
            Self::Http1 { line, is_open } => {
                let begins = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
                if let Some(begin) = begins.filter(|_| rests && !*is_open) {
                    line.clear();
                    *is_open = true;
                    note(line, &bytes[begin..]);
                } else if *is_open {
                    note(line, bytes);
                }
                *is_open
            }
            Self::Http2(frames) => {
                frames.hear(bytes);
                frames.is_open
            }
        }
    }

    /// hyper has read a whole head.
    pub(super) fn is_read(&mut self) {
        if let Self::Http1 { is_open, .. } = self {
            *is_open = false;
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// The method and the target of the request of which the head has begun last, for people: without
    /// the query, which may hold what is secret, and cut.
    pub(super) fn request(&self) -> Option<String> {
        let Self::Http1 { line, is_open: true } = self else { return None };
        request(line)
    }
}

/// Remembers the first line.
fn note(line: &mut Vec<u8>, more: &[u8]) {
    if line.last() == Some(&b'\n') {
        return;
    }
    let end = more.iter().position(|byte| *byte == b'\n').map_or(more.len(), |end| end + 1);
    let len = end.min(MAX_LINE.saturating_sub(line.len()));
    line.extend_from_slice(&more[..len]);
}

/// How a first line is told in the log, with the first character that no target may have.
fn request(line: &[u8]) -> Option<String> {
    const MAX_SHOWN: usize = 96;
    let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'))? + 1;
    let (shown, query) = match line[..end].iter().position(|byte| *byte == b'?') {
        Some(query) => (&line[..query], &line[query..end]),
        None => (&line[..end], &[][..]),
    };
    let cut = &shown[..shown.len().min(MAX_SHOWN)];
    let more = if cut.len() < shown.len() || !query.is_empty() { "..." } else { "" };
    let text = String::from_utf8_lossy(cut);
    let odd = odd(line.split(|byte| *byte == b' ').nth(1).unwrap_or_default());
    let odd = odd.map_or_else(String::new, |(odd, place)| {
        format!(", where {:?} is at {place} of the target", char::from(odd))
    });
    Some(format!("{text:?}{more}{odd}"))
}

/// The first byte of a target that hyper does not take (those that RFC 3986 has no place for), and where.
fn odd(target: &[u8]) -> Option<(u8, usize)> {
    let query = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let is_odd = |(place, byte): &(usize, &u8)| match byte {
        b'<' | b'>' => true,
        b'`' => *place < query,
        b'"' => *place > query,
        _ => false,
    };
    target.iter().enumerate().find(is_odd).map(|(place, byte)| (*byte, place))
}

impl Frames {
    fn hear(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let len = self.left.min(bytes.len());
                self.left -= len;
                bytes = &bytes[len..];
            } else {
                let len = (FRAME_HEADER - self.header.len()).min(bytes.len());
                self.header.extend_from_slice(&bytes[..len]);
                bytes = &bytes[len..];
                self.begins();
            }
            if self.left == 0 && self.header.is_empty() && self.ends {
                (self.is_open, self.ends) = (false, false);
            }
        }
    }

    /// A frame begins, once its header is whole.
    fn begins(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.header[..] else { return };
        if self.header.len() < FRAME_HEADER {
            return;
        }
        self.left = usize::from(high) * 0x1_0000 + usize::from(middle) * 0x100 + usize::from(low);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.is_open = true;
            self.ends = flags & END_HEADERS != 0;
        }
        self.header.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let len = u8::try_from(payload.len()).unwrap();
        [&[0, 0, len, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn head_of_http1_begins_with_first_byte_that_is_no_empty_line() {
        // What comes, whether the connection rests, and whether a head is open then.
        let cases: &[&[(&[u8], bool, bool)]] = &[
            &[(b"G", true, true), (b"ET / HTTP/1.1\r\n", true, true)],
            &[(b"PRI * HT", true, true), (b"X", true, true)],
            &[(b"\r\n", true, false), (b"\r\n\n", true, false), (b"\r\nG", true, true)],
            // The rest of a body whose response is there already.
            &[(b"body", false, false), (b"more", false, false), (b"G", true, true)],
        ];
        for case in cases {
            let mut heads = Heads::default();
            for (bytes, rests, expected) in *case {
                assert_eq!(heads.hear(bytes, *rests), *expected, "{case:?} at {bytes:?}");
            }
        }
        let mut heads = Heads::default();
        assert!(heads.hear(b"GET / HTTP/1.1\r\n\r\n", true));
        heads.is_read();
        assert!(!heads.hear(b"\r\n", true));
    }

    #[test]
    fn head_of_http2_is_open_from_headers_until_end_headers() {
        let headers = frame(1, 0, b"abc");
        let stream = [
            (PREFACE.to_vec(), false),
            (frame(4, 0, b"settin"), false),
            (frame(4, 1, b""), false),
            (frame(6, 0, b"12345678"), false),
            (frame(8, 0, &[0; 4]), false),
            (frame(1, 5, b"abc"), false),
            (headers[..9].to_vec(), true),
            (headers[9..].to_vec(), true),
            (frame(9, 0, b""), true),
            (frame(9, 4, b"def"), false),
            (frame(6, 0, b"12345678"), false),
            (frame(1, 5, b""), false),
        ];
        let mut whole = Heads::default();
        let mut single = Heads::default();
        for (bytes, expected) in &stream {
            assert_eq!(whole.hear(bytes, true), *expected, "{bytes:?}");
            let mut is_open = false;
            for byte in bytes {
                is_open = single.hear(&[*byte], true);
            }
            assert_eq!(is_open, *expected, "a byte at a time: {bytes:?}");
        }
    }

    #[test]
    fn request_is_named_without_its_query_and_cut() {
        let cases: &[(&[u8], &str)] = &[
            (
                b"GET /search/<b> HTTP/1.1\r\n",
                r#""GET /search/<b> HTTP/1.1", where '<' is at 8 of the target"#,
            ),
            (
                b"GET /s?token=secret&q=<b HTTP/1.1\r\n",
                r#""GET /s"..., where '<' is at 18 of the target"#,
            ),
            (b"GET /`id` HTTP/1.1\r\n", r#""GET /`id` HTTP/1.1", where '`' is at 1 of the target"#),
            (b"GET /a\"b?`` HTTP/1.1\n", r#""GET /a\"b"..."#),
            (b"SSH-2.0-OpenSSH_9.2\r\n", r#""SSH-2.0-OpenSSH_9.2""#),
            (b"\x00\x1b[31m", r#""\0\u{1b}[31m""#),
        ];
        for (line, expected) in cases {
            assert_eq!(request(line).as_deref(), Some(*expected), "{line:?}");
        }
        let long = [b"GET /", &[b'a'; 1000][..]].concat();
        assert!(request(&long).unwrap().len() < 110);
        assert_eq!(request(b""), None);
    }
}
