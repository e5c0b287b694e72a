//! The characters of a subject, one after the other.

use super::LiteralSubjectError;
use crate::der;

/// What stands behind an equals sign.
pub(super) enum Value {
    /// A text, without its escapes.
    Text(String),
    /// A DER value, which was written in hexadecimal digits.
    Der(Vec<u8>),
}

pub(super) struct Text<'a>(std::iter::Peekable<std::str::Chars<'a>>);

impl<'a> Text<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text.chars().peekable())
    }

    pub(super) fn peek(&mut self) -> Option<char> {
        self.0.peek().copied()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        self.0.next()
    }

    pub(super) fn skip_spaces(&mut self) {
        while self.0.next_if_eq(&' ').is_some() {}
    }

    /// What stands in front of an equals sign.
    pub(super) fn name(&mut self) -> Result<String, LiteralSubjectError> {
        let mut part = String::new();
        while let Some(character) = self.0.next_if(|next| !matches!(next, ',' | '+' | '=')) {
            part.push(character);
        }
        match self.0.next_if_eq(&'=') {
            Some(_) => Ok(part.trim_matches(' ').to_owned()),
            None => Err(LiteralSubjectError::NoAssignment { part }),
        }
    }

    /// What stands behind it, up to the end, a plus or a comma.
    pub(super) fn value(&mut self, name: &str) -> Result<Value, LiteralSubjectError> {
        self.skip_spaces();
        let bytes = match self.peek() {
            Some('#') => return self.hexadecimal(name).map(Value::Der),
            Some('"') => self.quoted(name)?,
            _ => self.plain(name)?,
        };
        let wrong = |_| LiteralSubjectError::WrongText { name: name.to_owned(), wanted: "UTF-8" };
        String::from_utf8(bytes).map(Value::Text).map_err(wrong)
    }

    fn plain(&mut self, name: &str) -> Result<Vec<u8>, LiteralSubjectError> {
        let mut bytes = Vec::new();
        // Spaces at the end are none of the value, unless they are escaped.
        let mut end = 0;
        while let Some(character) = self.0.next_if(|next| !matches!(next, ',' | '+')) {
            match character {
                '\\' => self.escaped(name)?.append(&mut bytes),
                '"' | ';' | '<' | '>' | '\0' => {
                    return Err(LiteralSubjectError::Unescaped {
                        name: name.to_owned(),
                        character,
                    });
                }
                other => Escaped::Char(other).append(&mut bytes),
            }
            if character != ' ' {
                end = bytes.len();
            }
        }
        bytes.truncate(end);
        Ok(bytes)
    }

    fn quoted(&mut self, name: &str) -> Result<Vec<u8>, LiteralSubjectError> {
        let broken = || LiteralSubjectError::Quotes { name: name.to_owned() };
        let mut bytes = Vec::new();
        self.next();
        loop {
            match self.next().ok_or_else(broken)? {
                '"' => break,
                '\\' => self.escaped(name)?.append(&mut bytes),
                other => Escaped::Char(other).append(&mut bytes),
            }
        }
        self.ends(bytes).ok_or_else(broken)
    }

    fn hexadecimal(&mut self, name: &str) -> Result<Vec<u8>, LiteralSubjectError> {
        let broken = || LiteralSubjectError::Hexadecimal { name: name.to_owned() };
        let mut bytes = Vec::new();
        self.next();
        while let Some(high) = self.0.next_if(char::is_ascii_hexdigit) {
            let low = self.next().ok_or_else(broken)?;
            bytes.push(byte(high, low).ok_or_else(broken)?);
        }
        der::contents(&bytes).ok_or_else(broken)?;
        self.ends(bytes).ok_or_else(broken)
    }

    /// `value` if nothing but spaces follows, up to the next separator.
    fn ends<T>(&mut self, value: T) -> Option<T> {
        self.skip_spaces();
        matches!(self.peek(), None | Some(',' | '+')).then_some(value)
    }

    /// What follows a backslash.
    fn escaped(&mut self, name: &str) -> Result<Escaped, LiteralSubjectError> {
        let broken = || LiteralSubjectError::Escape { name: name.to_owned() };
        let first = self.next().ok_or_else(broken)?;
        if " \"#+,;<=>\\".contains(first) {
            return Ok(Escaped::Char(first));
        }
        let second = self.next().ok_or_else(broken)?;
        byte(first, second).map(Escaped::Byte).ok_or_else(broken)
    }
}

/// An escape stands for a character, or for one byte of its UTF-8.
enum Escaped {
    Char(char),
    Byte(u8),
}

impl Escaped {
    fn append(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Char(character) => {
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            Self::Byte(byte) => bytes.push(byte),
        }
    }
}

fn byte(high: char, low: char) -> Option<u8> {
    let value = high.to_digit(16)? * 16 + low.to_digit(16)?;
    u8::try_from(value).ok()
}
