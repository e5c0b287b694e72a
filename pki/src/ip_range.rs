//! Ranges of IP addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The addresses that share their first bits, as in `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpRange {
    /// The first of them: the bits behind the prefix are zero.
    first: IpAddr,
    prefix: u8,
}

/// A text that is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no range of IP addresses: write it like 10.0.0.0/8 or 2001:db8::/32")]
pub struct NoIpRange(
    /// The text.
    pub String,
);

impl FromStr for IpRange {
    type Err = NoIpRange;

    /// Address and length of the prefix; what stands behind the prefix is left out, as
    /// cert-manager does it.
    fn from_str(text: &str) -> Result<Self, NoIpRange> {
        let parsed = || {
            let (address, prefix) = text.split_once('/')?;
            let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
            let prefix = prefix.parse().ok().filter(|_| digits)?;
            Self::new(address.parse().ok()?, prefix)
        };
        parsed().ok_or_else(|| NoIpRange(text.to_owned()))
    }
}

impl IpRange {
    fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let first = match address {
            IpAddr::V4(address) if prefix <= 32 => {
                Ipv4Addr::from_bits(address.to_bits() & mask_v4(prefix)).into()
            }
            IpAddr::V6(address) if prefix <= 128 => {
                Ipv6Addr::from_bits(address.to_bits() & mask_v6(prefix)).into()
            }
            _ => return None,
        };
        Some(Self { first, prefix })
    }

    /// Whether an address is within. An IPv4 address is never within a range of IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::new(address, self.prefix) == Some(*self)
    }

    /// Address and mask, as a certificate has it.
    pub(crate) fn octets(&self) -> Vec<u8> {
        match self.first {
            IpAddr::V4(first) => [first.octets(), mask_v4(self.prefix).to_be_bytes()].concat(),
            IpAddr::V6(first) => [first.octets(), mask_v6(self.prefix).to_be_bytes()].concat(),
        }
    }

    /// The same read; `None` for a mask with gaps, or any other length.
    pub(crate) fn from_octets(octets: &[u8]) -> Option<Self> {
        let (address, mask) = octets.split_at(octets.len() / 2);
        let ones = mask.iter().map(|byte| byte.count_ones()).sum::<u32>();
        let prefix = u8::try_from(ones).ok()?;
        let address: IpAddr = match address.len() {
            4 => <[u8; 4]>::try_from(address).ok()?.into(),
            16 => <[u8; 16]>::try_from(address).ok()?.into(),
            _ => return None,
        };
        let range = Self::new(address, prefix)?;
        // A mask with gaps comes back in another form.
        (range.octets().get(octets.len() / 2..)? == mask).then_some(range)
    }
}

fn mask_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for IpRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_what_shares_its_prefix() {
        let cases = [
            ("10.1.2.3/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.1/32", "192.0.2.1", true),
            ("192.0.2.1/32", "192.0.2.2", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "192.0.2.1", false),
        ];
        for (range, address, wanted) in cases {
            let read: IpRange = range.parse().expect(range);
            assert_eq!(read.contains(address.parse().expect(address)), wanted, "{range} {address}");
            assert_eq!(IpRange::from_octets(&read.octets()), Some(read));
            assert_eq!(read.to_string().parse(), Ok(read));
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0.0/", "a/8"] {
            assert_eq!(text.parse::<IpRange>(), Err(NoIpRange(text.to_owned())));
        }
        for octets in [&[10, 0, 0, 0, 255, 0, 255, 0][..], &[10, 0, 0, 0, 255], &[], &[1; 32]] {
            assert_eq!(IpRange::from_octets(octets), None);
        }
    }
}
