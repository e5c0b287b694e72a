//! Subjects in the notation of LDAP (RFC 4514): `CN=web,OU=a+OU=b,O=Acme,C=DE`.
//!
//! The notation goes from the narrowest part to the widest, and a DER Name the other way round.
//! Spaces around separators and quoted values, which older notations have, are read too. What the
//! RFC wants escaped and is not, and types without a meaning here, are refused.

use x509_parser::asn1_rs::FromDer;
use x509_parser::x509::X509Name;

use self::text::{Text, Value};
use super::name::{self, NameParts};
use super::{der, oid};

mod text;

/// Nobody has a longer name; an upper bound for all that is parsed.
const LIMIT: usize = 4096;

const ALLOWED: &str = "CN, C, L, ST, STREET, O, OU, DC, UID, SERIALNUMBER, POSTALCODE, EMAIL, \
    EMAILADDRESS, or an object identifier in numbers";

/// How the value of a type is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// PrintableString where it fits, else UTF8String.
    Directory,
    /// PrintableString.
    Printable,
    /// IA5String.
    Ascii,
}

const TYPES: [(&str, &str, Form); 13] = [
    ("CN", "2.5.4.3", Form::Directory),
    ("C", "2.5.4.6", Form::Printable),
    ("L", "2.5.4.7", Form::Directory),
    ("ST", "2.5.4.8", Form::Directory),
    ("STREET", "2.5.4.9", Form::Directory),
    ("O", "2.5.4.10", Form::Directory),
    ("OU", "2.5.4.11", Form::Directory),
    ("POSTALCODE", "2.5.4.17", Form::Directory),
    ("SERIALNUMBER", "2.5.4.5", Form::Printable),
    ("DC", "0.9.2342.19200300.100.1.25", Form::Ascii),
    ("UID", "0.9.2342.19200300.100.1.1", Form::Directory),
    ("EMAIL", "1.2.840.113549.1.9.1", Form::Ascii),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1", Form::Ascii),
];

/// Why a text is no subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiteralSubjectError {
    /// More than is ever read.
    #[error("a subject of {bytes} bytes is longer than the {LIMIT} that are read")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// Nothing at all.
    #[error("the subject is empty")]
    Empty,
    /// A part that is no `type=value`.
    #[error("{part:?} is not of the form type=value")]
    NoAssignment {
        /// The part.
        part: String,
    },
    /// A type that is not known.
    #[error("the type {name:?} is not known: use {ALLOWED}")]
    UnknownType {
        /// The type as it stands there.
        name: String,
    },
    /// A type without a value.
    #[error("the value of {name} is empty")]
    EmptyValue {
        /// The type as it stands there.
        name: String,
    },
    /// A backslash in front of what needs none.
    #[error(
        "in the value of {name}, a backslash is not followed by a special character or two hexadecimal digits"
    )]
    Escape {
        /// The type as it stands there.
        name: String,
    },
    /// A character that has a meaning in the notation.
    #[error("in the value of {name}, {character:?} has to be escaped with a backslash")]
    Unescaped {
        /// The type as it stands there.
        name: String,
        /// The character.
        character: char,
    },
    /// A quoted value without its end, or with more behind it.
    #[error("the quoted value of {name} has no end, or is followed by more")]
    Quotes {
        /// The type as it stands there.
        name: String,
    },
    /// Hexadecimal digits that are no value.
    #[error("the value of {name} begins with # and is not one DER value in hexadecimal digits")]
    Hexadecimal {
        /// The type as it stands there.
        name: String,
    },
    /// A value that its type cannot have.
    #[error("the value of {name} cannot be written as {wanted}")]
    WrongText {
        /// The type as it stands there.
        name: String,
        /// What its type demands.
        wanted: &'static str,
    },
    /// Two common names: whichever is checked, somebody may read the other.
    #[error("the subject has more than one common name")]
    SeveralCommonNames,
}

/// A subject that was written as a text, ready to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiteralSubject {
    der: Vec<u8>,
    common_name: Option<String>,
}

impl LiteralSubject {
    /// Reads the notation of RFC 4514.
    pub fn parse(text: &str) -> Result<Self, LiteralSubjectError> {
        if text.len() > LIMIT {
            return Err(LiteralSubjectError::TooLong { bytes: text.len() });
        }
        let mut steps = steps(&mut Text::new(text))?;
        steps.reverse();
        let der = der::written_sequence(|writer| {
            for step in &steps {
                writer.next().write_set_of(|writer| {
                    step.iter().for_each(|attribute| writer.next().write_der(attribute));
                });
            }
        });
        let common_name = common_name(&der)?;
        Ok(Self { der, common_name })
    }

    /// The DER Name.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The common name, if it has one.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }
}

/// What will be read out of it must be what we check: one common name at most, and a text.
fn common_name(der: &[u8]) -> Result<Option<String>, LiteralSubjectError> {
    let unreadable = || LiteralSubjectError::WrongText { name: "CN".to_owned(), wanted: "text" };
    let (_, name) = X509Name::from_der(der).map_err(|_| unreadable())?;
    let NameParts { mut common_names, others, .. } = NameParts::read(&name);
    if others.iter().any(|part| part == name::COMMON_NAME_TEXT) {
        return Err(unreadable());
    }
    match common_names.len() {
        0 | 1 => Ok(common_names.pop()),
        _ => Err(LiteralSubjectError::SeveralCommonNames),
    }
}

/// The attributes (DER) of each step, in the order of the text.
fn steps(text: &mut Text<'_>) -> Result<Vec<Vec<Vec<u8>>>, LiteralSubjectError> {
    text.skip_spaces();
    if text.peek().is_none() {
        return Err(LiteralSubjectError::Empty);
    }
    let mut steps = vec![Vec::new()];
    loop {
        let attribute = attribute(text)?;
        if let Some(step) = steps.last_mut() {
            step.push(attribute);
        }
        match text.next() {
            None => return Ok(steps),
            // What ends a value is the end, a plus or a comma.
            Some('+') => {}
            Some(_) => steps.push(Vec::new()),
        }
    }
}

fn attribute(text: &mut Text<'_>) -> Result<Vec<u8>, LiteralSubjectError> {
    let name = text.name()?;
    let (oid, form) = kind(&name)?;
    let value = match text.value(&name)? {
        Value::Der(der) => der,
        Value::Text(value) => written(&name, form, &value)?,
    };
    Ok(der::written_sequence(|writer| {
        writer.next().write_oid(&yasna::models::ObjectIdentifier::from_slice(&oid));
        writer.next().write_der(&value);
    }))
}

fn kind(name: &str) -> Result<(Vec<u64>, Form), LiteralSubjectError> {
    let unknown = || LiteralSubjectError::UnknownType { name: name.to_owned() };
    let named = TYPES.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
    let dotted = named.map_or(name, |(_, oid, _)| oid);
    let numbers = oid::parse(dotted).ok_or_else(unknown)?;
    let known = TYPES.iter().find(|(_, oid, _)| *oid == dotted);
    Ok((numbers, known.map_or(Form::Directory, |(.., form)| *form)))
}

fn written(name: &str, form: Form, value: &str) -> Result<Vec<u8>, LiteralSubjectError> {
    let wrong = |wanted| LiteralSubjectError::WrongText { name: name.to_owned(), wanted };
    if value.is_empty() {
        return Err(LiteralSubjectError::EmptyValue { name: name.to_owned() });
    }
    match form {
        Form::Printable if !name::is_printable(value) => {
            Err(wrong("PrintableString: letters, digits, spaces and '()+,-./:=?"))
        }
        Form::Ascii if !value.is_ascii() => Err(wrong("IA5String, which is ASCII")),
        Form::Ascii => Ok(yasna::construct_der(|writer| writer.write_ia5_string(value))),
        _ => Ok(yasna::construct_der(|writer| name::write_text(writer, value))),
    }
}

#[cfg(test)]
mod tests;
