//! Name constraints (RFC 5280, 4.2.1.10): what names an authority may put its name to. Written and
//! read here; `permits` holds them.

use std::collections::BTreeSet;

use rcgen::CustomExtension;
use yasna::Tag;

use super::compose::ComposeError;
use super::ip_range::IpRange;
use super::{der, domain, name};

/// The extension's object identifier.
pub(crate) const EXTENSION: [u64; 4] = [2, 5, 29, 30];

/// What an authority may sign, and what it may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameConstraints {
    /// Whether who does not understand them must refuse the authority.
    pub critical: bool,
    /// If a form of name stands here at all, a name of that form must be within one of these.
    pub permitted: NameSet,
    /// No name may be within one of these, permitted or not.
    pub excluded: NameSet,
}

/// Subtrees of names. The order means nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameSet {
    /// Each stands for itself and all below; with a dot in front, for what is below only.
    pub dns_domains: Vec<String>,
    /// Ranges of IP addresses.
    pub ip_ranges: Vec<IpRange>,
    /// Mailboxes (`a@example.com`), hosts, or with a dot in front all hosts below.
    pub email_addresses: Vec<String>,
    /// Hosts of URIs, or with a dot in front all hosts below.
    pub uri_domains: Vec<String>,
    /// The first steps of subjects, each a DER Name.
    pub directory_names: Vec<Vec<u8>>,
    /// Forms of name that are limited in a way that cannot be checked here.
    pub unchecked: BTreeSet<NameForm>,
}

/// A form of name (RFC 5280, 4.2.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each name is the form's own")]
pub enum NameForm {
    Other,
    Email,
    Dns,
    X400,
    Directory,
    EdiParty,
    Uri,
    Ip,
    RegisteredId,
}

/// By the numbers of their tags.
const FORMS: [NameForm; 9] = [
    NameForm::Other,
    NameForm::Email,
    NameForm::Dns,
    NameForm::X400,
    NameForm::Directory,
    NameForm::EdiParty,
    NameForm::Uri,
    NameForm::Ip,
    NameForm::RegisteredId,
];

impl NameConstraints {
    /// True if nothing is limited.
    pub fn is_empty(&self) -> bool {
        self.permitted.is_empty() && self.excluded.is_empty()
    }

    /// True if both say the same, in whatever order.
    pub(crate) fn says_the_same_as(&self, other: &Self) -> bool {
        self.critical == other.critical
            && self.permitted.sorted() == other.permitted.sorted()
            && self.excluded.sorted() == other.excluded.sorted()
    }

    /// Reads the extension strictly: whatever is passed over could be a limit. `None` if it is
    /// damaged.
    pub(crate) fn read(content: &[u8], critical: bool) -> Option<Self> {
        let mut read = Self { critical, ..Self::default() };
        let mut last = None;
        for subtrees in der::elements(content)? {
            let tag = *subtrees.first()?;
            if last >= Some(tag) {
                return None;
            }
            last = Some(tag);
            let set = match tag {
                0xa0 => &mut read.permitted,
                0xa1 => &mut read.excluded,
                _ => return None,
            };
            for subtree in der::values(der::contents(subtrees)?)? {
                set.take(subtree)?;
            }
        }
        Some(read)
    }

    pub(crate) fn extension(&self) -> Result<CustomExtension, ComposeError> {
        if self.is_empty() {
            return Err(ComposeError::NoConstraint);
        }
        let sets = [("permitted", 0, &self.permitted), ("excluded", 1, &self.excluded)];
        sets.iter().try_for_each(|(field, _, set)| set.check(field))?;
        let content = der::written_sequence(|writer| {
            for (_, tag, set) in sets.into_iter().filter(|(.., set)| !set.is_empty()) {
                writer.next().write_tagged_implicit(Tag::context(tag), |writer| {
                    writer.write_sequence(|writer| set.write(writer));
                });
            }
        });
        let mut extension = CustomExtension::from_oid_content(&EXTENSION, content);
        extension.set_criticality(self.critical);
        Ok(extension)
    }
}

impl NameSet {
    /// True if nothing stands here.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn sorted(&self) -> Self {
        let mut set = self.clone();
        for texts in [&mut set.dns_domains, &mut set.email_addresses, &mut set.uri_domains] {
            texts.sort();
            texts.dedup();
        }
        set.ip_ranges.sort();
        set.ip_ranges.dedup();
        set.directory_names.sort();
        set.directory_names.dedup();
        set
    }

    /// One subtree. A minimum or maximum, which nobody may write, makes it one that cannot be
    /// checked, as does a text that is no domain.
    fn take(&mut self, subtree: &[u8]) -> Option<()> {
        let parts = der::elements(subtree)?;
        let (base, more) = parts.split_first()?;
        let form = form(*base.first()?)?;
        let content = der::contents(base)?;
        if !more.is_empty() || !self.take_base(form, content) {
            self.unchecked.insert(form);
        }
        Some(())
    }

    /// False if the base cannot be checked.
    fn take_base(&mut self, form: NameForm, content: &[u8]) -> bool {
        let text = || std::str::from_utf8(content).ok().map(str::to_owned);
        let list = match form {
            NameForm::Dns => &mut self.dns_domains,
            NameForm::Uri => &mut self.uri_domains,
            NameForm::Email => &mut self.email_addresses,
            NameForm::Ip => {
                let range = IpRange::from_octets(content);
                self.ip_ranges.extend(range);
                return range.is_some();
            }
            NameForm::Directory => {
                let readable = name::comparable(content).is_some();
                self.directory_names.extend(readable.then(|| content.to_vec()));
                return readable;
            }
            _ => return false,
        };
        let found = text().filter(|text| is_subtree(form, text));
        let readable = found.is_some();
        list.extend(found);
        readable
    }

    /// Whether all of it can be written, and would be understood.
    fn check(&self, field: &'static str) -> Result<(), ComposeError> {
        if !self.unchecked.is_empty() {
            return Err(ComposeError::UncheckedConstraint);
        }
        for (form, texts) in self.texts() {
            if let Some(wrong) = texts.iter().find(|text| !is_subtree(form, text)) {
                return Err(ComposeError::Constraint { field, value: wrong.clone() });
            }
        }
        match self.directory_names.iter().any(|name| name::comparable(name).is_none()) {
            true => Err(ComposeError::UncheckedConstraint),
            false => Ok(()),
        }
    }

    fn texts(&self) -> [(NameForm, &[String]); 3] {
        [
            (NameForm::Email, &self.email_addresses),
            (NameForm::Dns, &self.dns_domains),
            (NameForm::Uri, &self.uri_domains),
        ]
    }

    fn write(&self, writer: &mut yasna::DERWriterSeq<'_>) {
        for (form, texts) in self.texts() {
            for text in texts {
                write_subtree(writer, |writer| {
                    writer.write_tagged_implicit(tag(form), |writer| writer.write_ia5_string(text));
                });
            }
        }
        for range in &self.ip_ranges {
            write_subtree(writer, |writer| {
                writer.write_tagged_implicit(tag(NameForm::Ip), |writer| {
                    writer.write_bytes(&range.octets());
                });
            });
        }
        for name in &self.directory_names {
            // A Name is a CHOICE, whose tag is always explicit.
            write_subtree(writer, |writer| {
                writer.write_tagged(tag(NameForm::Directory), |writer| writer.write_der(name));
            });
        }
    }
}

/// Its minimum is 0, hence left out.
fn write_subtree(writer: &mut yasna::DERWriterSeq<'_>, base: impl FnOnce(yasna::DERWriter<'_>)) {
    writer.next().write_sequence(|writer| base(writer.next()));
}

fn tag(form: NameForm) -> Tag {
    let number = FORMS.iter().position(|known| *known == form).unwrap_or_default();
    Tag::context(number as u64)
}

/// The form of a name with this identifier octet, context-specific and constructed or not.
fn form(identifier: u8) -> Option<NameForm> {
    let number = identifier & 0x1f;
    let context = identifier & 0xc0 == 0x80;
    FORMS.get(usize::from(number)).copied().filter(|_| context)
}

/// Whether a text makes sense as a subtree of a form. An empty one stands for all names.
fn is_subtree(form: NameForm, text: &str) -> bool {
    let host = |text: &str| domain::is_domain(text.strip_prefix('.').unwrap_or(text));
    match (form, text.rsplit_once('@')) {
        _ if text.is_empty() => true,
        (NameForm::Email, Some((local, domain))) => {
            domain::is_local_part(local) && domain::is_domain(domain)
        }
        (_, Some(_)) => false,
        (_, None) => host(text),
    }
}
