//! Finds the sections of a PEM text (RFC 7468), strictly: every BEGIN mark in the text is either
//! read, known to mark something else, or an error that names its line.
//!
//! Readers of TLS libraries skip a mark that is not alone on its line and a label that they do not
//! know, so that a bundle loses a certificate and nothing reports it. Decoding is left to them: they
//! get each section alone, in its canonical form.

mod kind;

pub use kind::Kind;
use kind::Standing;

/// The API server stores no object larger than about 1.5 MiB.
pub const MAX_BYTES: usize = 1 << 20;

const BOM: &[u8] = b"\xef\xbb\xbf";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// A section of the wanted kind.
#[derive(Clone, PartialEq, Eq)]
pub struct Section {
    /// Its canonical label.
    pub label: &'static str,
    /// The line of its BEGIN mark, counted from 1.
    pub line: usize,
    /// The section alone, with its canonical label and without blanks: input for a PEM decoder.
    /// It may be a private key.
    pub text: Vec<u8>,
}

/// Why a PEM text is refused. No variant holds a part of the content, which may be of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// The text is longer than the limit.
    #[error("{bytes} bytes of PEM are more than the {limit} that are read")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Every other byte is zero.
    #[error("the text is UTF-16: save it as UTF-8")]
    Utf16,
    /// DER instead of PEM.
    #[error(
        "this is DER (binary), not PEM: convert it, for example with 'openssl x509 -inform DER'"
    )]
    Der,
    /// A line is wrong.
    #[error("line {line}: {problem}")]
    Line {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: Problem,
    },
    /// No section of the wanted kind.
    #[error("there is no PEM section {label}{}", only(other.as_deref()))]
    Missing {
        /// The wanted label.
        label: &'static str,
        /// The first other label in the text.
        other: Option<String>,
    },
    /// More sections of the wanted kind than are read.
    #[error("there are more than {limit} PEM sections {label}")]
    TooMany {
        /// The wanted label.
        label: &'static str,
        /// The limit.
        limit: usize,
    },
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A BEGIN or END mark that decoders pass over.
    #[error("a BEGIN or END mark is damaged, or is not alone on its line")]
    Mark,
    /// A section without an end.
    #[error("section {label} has no END line")]
    NoEnd {
        /// Its label.
        label: String,
    },
    /// An end without a section.
    #[error("an END line without its BEGIN line")]
    NoBegin,
    /// A section that ends under another label.
    #[error("section {label} ends with another label")]
    OtherEnd {
        /// Its label at the beginning.
        label: String,
    },
    /// The content cannot be decoded.
    #[error("section {label} is empty or not base64")]
    Content {
        /// Its label.
        label: String,
    },
    /// A section that is encrypted in the old way (RFC 1421).
    #[error("section {label} is encrypted: decrypt it, for example with 'openssl pkey'")]
    Encrypted {
        /// Its label.
        label: String,
    },
    /// A section that holds what is wanted in a form that is not read.
    #[error("section {label} {advice}")]
    Label {
        /// Its label.
        label: String,
        /// What it is, and what to do.
        advice: &'static str,
    },
}

fn only(other: Option<&str>) -> String {
    other.map(|label| format!(", only {label}")).unwrap_or_default()
}

impl std::fmt::Debug for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in line {}", self.label, self.line)
    }
}

/// Every section of `kind` in `text`, in order: at least one, at most `limit`.
///
/// # Errors
/// When the text is no PEM, or holds a section or a mark that would otherwise be passed over.
pub fn sections(text: &[u8], kind: Kind, limit: usize) -> Result<Vec<Section>, PemError> {
    if text.len() > MAX_BYTES {
        return Err(PemError::TooLong { bytes: text.len(), limit: MAX_BYTES });
    }
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return Err(PemError::Utf16);
    }
    let mut reader = Reader { kind, limit, found: Vec::new(), other: None, open: None };
    for (number, line) in lines(text) {
        reader.take(number, line)?;
    }
    reader.finish(text)
}

/// Lines with their numbers. A carriage return alone ends a line, too.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let numbered = (1..).zip(text.split(|byte| *byte == b'\n'));
    numbered.flat_map(|(number, line)| {
        line.split(|byte| *byte == b'\r').map(move |part| (number, trimmed(part)))
    })
}

/// Without blanks around it, and without byte order marks in front, which files have that were
/// joined.
fn trimmed(mut line: &[u8]) -> &[u8] {
    line = line.trim_ascii();
    while let Some(rest) = line.strip_prefix(BOM) {
        line = rest.trim_ascii();
    }
    line
}

struct Reader {
    kind: Kind,
    limit: usize,
    found: Vec<Section>,
    other: Option<String>,
    open: Option<Open>,
}

/// A section whose end was not reached yet.
struct Open {
    label: String,
    line: usize,
    /// The canonical label and the content; none for a section of another kind.
    wanted: Option<(&'static str, Vec<u8>)>,
}

impl Reader {
    fn take(&mut self, number: usize, line: &[u8]) -> Result<(), PemError> {
        if line.starts_with(BEGIN) {
            return self.begin(number, line);
        }
        let Some(open) = &mut self.open else {
            let problem = if line.starts_with(END) { Problem::NoBegin } else { Problem::Mark };
            return if has_mark(line) { Err(at(number, problem)) } else { Ok(()) };
        };
        match line.strip_prefix(END) {
            Some(rest) => self.end(number, rest),
            None => open.content(number, line),
        }
    }

    fn begin(&mut self, number: usize, line: &[u8]) -> Result<(), PemError> {
        if let Some(open) = self.open.take() {
            return Err(at(open.line, Problem::NoEnd { label: open.label }));
        }
        let label = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(DASHES));
        let label = label.and_then(label_of).ok_or_else(|| at(number, Problem::Mark))?;
        let wanted = match self.kind.standing(label) {
            Standing::Read(canonical) => Some((canonical, Vec::new())),
            Standing::Other => {
                self.other.get_or_insert_with(|| label.to_owned());
                None
            }
            Standing::Refused(advice) => {
                let label = label.to_owned();
                return Err(at(number, Problem::Label { label, advice }));
            }
        };
        self.open = Some(Open { label: label.to_owned(), line: number, wanted });
        Ok(())
    }

    /// The END line, of which `rest` is what stands behind the mark. Files that were joined without
    /// a line feed have the next BEGIN mark there.
    fn end(&mut self, number: usize, rest: &[u8]) -> Result<(), PemError> {
        let Some(open) = self.open.take() else { return Err(at(number, Problem::NoBegin)) };
        let Some(rest) = rest.strip_prefix(open.label.as_bytes()) else {
            return Err(at(number, Problem::OtherEnd { label: open.label }));
        };
        let rest = rest.strip_prefix(DASHES).ok_or_else(|| at(number, Problem::Mark))?;
        self.close(open)?;
        match trimmed(rest) {
            [] => Ok(()),
            next if next.starts_with(BEGIN) => self.begin(number, next),
            _ => Err(at(number, Problem::Mark)),
        }
    }

    fn close(&mut self, open: Open) -> Result<(), PemError> {
        let Some((label, content)) = open.wanted else { return Ok(()) };
        if content.is_empty() {
            return Err(at(open.line, Problem::Content { label: open.label }));
        }
        if self.found.len() == self.limit {
            return Err(PemError::TooMany { label: self.kind.label(), limit: self.limit });
        }
        let mut text = format!("-----BEGIN {label}-----\n").into_bytes();
        text.extend(content);
        text.extend(format!("\n-----END {label}-----\n").into_bytes());
        self.found.push(Section { label, line: open.line, text });
        Ok(())
    }

    fn finish(self, text: &[u8]) -> Result<Vec<Section>, PemError> {
        if let Some(open) = self.open {
            return Err(at(open.line, Problem::NoEnd { label: open.label }));
        }
        if !self.found.is_empty() {
            return Ok(self.found);
        }
        if self.other.is_none() && is_der(text) {
            return Err(PemError::Der);
        }
        Err(PemError::Missing { label: self.kind.label(), other: self.other })
    }
}

impl Open {
    fn content(&mut self, number: usize, line: &[u8]) -> Result<(), PemError> {
        let label = || self.label.clone();
        if has_mark(line) {
            return Err(at(number, Problem::Mark));
        }
        let Some((_, content)) = &mut self.wanted else { return Ok(()) };
        if line.starts_with(b"Proc-Type:") {
            return Err(at(number, Problem::Encrypted { label: label() }));
        }
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
        let bytes = line.iter().copied().filter(|byte| !byte.is_ascii_whitespace());
        for byte in bytes {
            if !is_base64(byte) {
                return Err(at(number, Problem::Content { label: label() }));
            }
            content.push(byte);
        }
        Ok(())
    }
}

fn at(line: usize, problem: Problem) -> PemError {
    PemError::Line { line, problem }
}

/// A label as RFC 7468 writes it; nothing else is ever shown.
fn label_of(bytes: &[u8]) -> Option<&str> {
    let plain =
        |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b" .#".contains(byte);
    let is_label = (1..=40).contains(&bytes.len()) && bytes.iter().all(plain);
    str::from_utf8(bytes).ok().filter(|_| is_label)
}

/// Whether a line holds a BEGIN or END mark, or what was one before an editor changed its dashes.
fn has_mark(line: &[u8]) -> bool {
    let dash = |before: &[u8]| {
        before.ends_with(b"-")
            || matches!(before, [.., 0xe2, 0x80, 0x90..=0x95] | [.., 0xe2, 0x88, 0x92])
    };
    [&b"BEGIN "[..], b"END "].iter().any(|word| {
        let mut windows = line.windows(word.len()).enumerate();
        windows.any(|(at, window)| window == *word && dash(&line[..at]))
    })
}

/// A SEQUENCE with a long length, which no text begins with.
fn is_der(text: &[u8]) -> bool {
    matches!(text, [0x30, 0x80..=0x84, ..])
}

#[cfg(test)]
mod tests;
