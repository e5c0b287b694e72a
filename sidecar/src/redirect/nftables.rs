//! nf_tables messages, as the kernel wants them (linux/netfilter/nf_tables.h, nfnetlink.h).

use std::net::IpAddr;

use super::rules::{Action, Chain, Hook, Kind, Match};

/// The one table of ours, in the family of both IPv4 and IPv6.
const TABLE: &[u8] = b"countersign\0";
const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const SUBSYSTEM: u16 = 10;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;

const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// An attribute whose value is attributes.
const NESTED: u16 = 0x8000;
/// The first general register of 16 bytes, and the one of the verdict.
const REGISTER: u32 = 1;
const VERDICT: u32 = 0;

const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
const IPPROTO_TCP: u8 = 6;
/// Where destination addresses are translated (NF_IP_PRI_NAT_DST).
const PRIORITY_NAT: i32 = -100;
/// Behind connection tracking (-200), and before destinations are translated (NF_IP_PRI_MANGLE).
const PRIORITY_FILTER: i32 = -150;
/// The loopback interface is the first of every network namespace.
const LOOPBACK: u32 = 1;

/// How two values are compared (nft_cmp_ops).
const EQUAL: u32 = 0;
const DIFFERS: u32 = 1;

/// States and status bits of connection tracking (nf_conntrack_common.h).
const STATE_INVALID: u32 = 1;
const STATE_NEW: u32 = 8;
const STATUS_DST_NAT: u32 = 1 << 5;

/// The type of addresses that are delivered here (RTN_LOCAL).
const LOCAL: u32 = 2;

/// Messages that the kernel carries out together, or not at all.
pub(super) struct Transaction {
    bytes: Vec<u8>,
    /// How many of them it answers.
    pub(super) answered: u32,
    sequence: u32,
}

impl Transaction {
    pub(super) fn new() -> Self {
        let mut transaction = Self { bytes: Vec::new(), answered: 0, sequence: 0 };
        transaction.message(BATCH_BEGIN, 0, 0, SUBSYSTEM, &[]);
        transaction
    }

    pub(super) fn add_table(&mut self) {
        self.change(NEW_TABLE, CREATE, &attribute(1, TABLE));
    }

    pub(super) fn delete_table(&mut self) {
        self.change(DELETE_TABLE, 0, &attribute(1, TABLE));
    }

    pub(super) fn add_chain(&mut self, chain: &Chain) {
        let name = zero_terminated(chain.name);
        let number: u32 = match chain.hook {
            Hook::PreRouting => 0,
            Hook::Input => 1,
            Hook::Output => 3,
        };
        let (kind, priority): (&[u8], i32) = match chain.kind {
            Kind::Nat => (b"nat\0", PRIORITY_NAT),
            Kind::Filter => (b"filter\0", PRIORITY_FILTER),
        };
        let hook =
            [attribute(1, &number.to_be_bytes()), attribute(2, &priority.to_be_bytes())].concat();
        let attributes = [
            attribute(1, TABLE),
            attribute(3, &name),
            attribute(4 | NESTED, &hook),
            attribute(7, kind),
        ];
        self.change(NEW_CHAIN, CREATE, &attributes.concat());
        for (matched, action) in &chain.rules {
            let expressions = [tcp(), expression_of(*matched), expression_to(*action)].concat();
            let attributes =
                [attribute(1, TABLE), attribute(2, &name), attribute(4 | NESTED, &expressions)];
            self.change(NEW_RULE, CREATE | APPEND, &attributes.concat());
        }
    }

    /// The bytes to send.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.message(BATCH_END, 0, 0, SUBSYSTEM, &[]);
        self.bytes
    }

    fn change(&mut self, kind: u16, flags: u16, attributes: &[u8]) {
        self.answered += 1;
        self.message(kind, flags | ACKNOWLEDGE, NFPROTO_INET, 0, attributes);
    }

    /// A netlink header, an nfnetlink header, and attributes.
    fn message(&mut self, kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]) {
        let length = u32::try_from(20 + attributes.len()).unwrap_or(u32::MAX);
        self.sequence += 1;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | REQUEST).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend(0_u32.to_ne_bytes());
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.bytes.extend(attributes);
    }
}

/// Length, type, value, and padding to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(value.len() + 7);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn zero_terminated(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// One element of a rule's list: an expression by name, with its own attributes.
fn expression(name: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let data = attribute(2 | NESTED, &attributes.concat());
    let element = [attribute(1, &zero_terminated(name)), data].concat();
    attribute(1 | NESTED, &element)
}

/// Loads something about the packet into the register.
fn meta(key: u32) -> Vec<u8> {
    expression("meta", &[attribute(1, &REGISTER.to_be_bytes()), attribute(2, &key.to_be_bytes())])
}

/// Goes on only if the register holds this value.
fn equals(value: &[u8]) -> Vec<u8> {
    compare(EQUAL, value)
}

/// Goes on only if the register holds another value.
fn differs(value: &[u8]) -> Vec<u8> {
    compare(DIFFERS, value)
}

fn compare(how: u32, value: &[u8]) -> Vec<u8> {
    let data = attribute(1, value);
    let register = attribute(1, &REGISTER.to_be_bytes());
    expression("cmp", &[register, attribute(2, &how.to_be_bytes()), attribute(3 | NESTED, &data)])
}

/// Leaves only these bits in the register.
fn masked(bits: u32) -> Vec<u8> {
    let register = REGISTER.to_be_bytes();
    let (mask, nothing) = (attribute(1, &bits.to_ne_bytes()), attribute(1, &0_u32.to_ne_bytes()));
    let attributes = [
        attribute(1, &register),
        attribute(2, &register),
        attribute(3, &4_u32.to_be_bytes()),
        attribute(4 | NESTED, &mask),
        attribute(5 | NESTED, &nothing),
    ];
    expression("bitwise", &attributes)
}

/// Loads something about the packet's connection into the register.
fn tracked(key: u32) -> Vec<u8> {
    expression("ct", &[attribute(1, &REGISTER.to_be_bytes()), attribute(2, &key.to_be_bytes())])
}

/// `ct state`
fn state() -> Vec<u8> {
    tracked(0)
}

/// `ct status`
fn status() -> Vec<u8> {
    tracked(2)
}

/// `meta iif`
fn incoming() -> Vec<u8> {
    meta(4)
}

/// `fib daddr type`: what the destination is to this namespace (NFT_FIB_RESULT_ADDRTYPE).
fn destination_type() -> Vec<u8> {
    const ADDRESS_TYPE: u32 = 3;
    const OF_DESTINATION: u32 = 2;
    let attributes = [
        attribute(1, &REGISTER.to_be_bytes()),
        attribute(2, &ADDRESS_TYPE.to_be_bytes()),
        attribute(3, &OF_DESTINATION.to_be_bytes()),
    ];
    expression("fib", &attributes)
}

/// `meta l4proto tcp`
fn tcp() -> Vec<u8> {
    [meta(16), equals(&[IPPROTO_TCP])].concat()
}

fn expression_of(matched: Match) -> Vec<u8> {
    match matched {
        Match::Any => Vec::new(),
        // `meta skuid`, in the machine's own byte order.
        Match::User(user) => [meta(10), equals(&user.to_ne_bytes())].concat(),
        // `meta oif`
        Match::Loopback => [meta(5), equals(&LOOPBACK.to_ne_bytes())].concat(),
        Match::FromLoopback => [incoming(), equals(&LOOPBACK.to_ne_bytes())].concat(),
        Match::LoopbackFromOutside => {
            // `ip daddr 127.0.0.0/8`: its first byte.
            let first = [meta(15), equals(&[NFPROTO_IPV4]), payload(1, 16, 1), equals(&[127])];
            [incoming(), differs(&LOOPBACK.to_ne_bytes()), first.concat()].concat()
        }
        Match::InvalidFromOutside => {
            let invalid = [state(), equals(&STATE_INVALID.to_ne_bytes())].concat();
            [incoming(), differs(&LOOPBACK.to_ne_bytes()), invalid].concat()
        }
        Match::NotLocal => [destination_type(), differs(&LOCAL.to_ne_bytes())].concat(),
        Match::Redirected => {
            [status(), masked(STATUS_DST_NAT), differs(&0_u32.to_ne_bytes())].concat()
        }
        Match::NotNew => [state(), differs(&STATE_NEW.to_ne_bytes())].concat(),
        Match::Port(port) => [destination_port(), equals(&port.to_be_bytes())].concat(),
        Match::Destination(to) => {
            let port = [destination_port(), equals(&to.port().to_be_bytes())].concat();
            [destination(to.ip()), port].concat()
        }
    }
}

/// `meta nfproto ipv4 ip daddr ...`, or the same of IPv6: the table has both.
fn destination(ip: IpAddr) -> Vec<u8> {
    let (family, offset, bytes) = match ip {
        IpAddr::V4(ip) => (NFPROTO_IPV4, 16, ip.octets().to_vec()),
        IpAddr::V6(ip) => (NFPROTO_IPV6, 24, ip.octets().to_vec()),
    };
    let length = u32::try_from(bytes.len()).unwrap_or_default();
    [meta(15), equals(&[family]), payload(1, offset, length), equals(&bytes)].concat()
}

/// `tcp dport`: two bytes from the third of the transport header on.
fn destination_port() -> Vec<u8> {
    payload(2, 2, 2)
}

/// Loads bytes of the packet into the register; base 1 is the network header, 2 the transport header.
fn payload(base: u32, offset: u32, length: u32) -> Vec<u8> {
    let [register, base, offset, length] = [REGISTER, base, offset, length].map(u32::to_be_bytes);
    let attributes = [
        attribute(1, &register),
        attribute(2, &base),
        attribute(3, &offset),
        attribute(4, &length),
    ];
    expression("payload", &attributes)
}

fn expression_to(action: Action) -> Vec<u8> {
    match action {
        Action::Accept => verdict(NF_ACCEPT),
        Action::Drop => verdict(NF_DROP),
        Action::Redirect(port) => {
            let load = immediate(REGISTER, &attribute(1, &port.to_be_bytes()));
            let redirect = expression("redir", &[attribute(1, &REGISTER.to_be_bytes())]);
            [load, redirect].concat()
        }
    }
}

fn verdict(code: u32) -> Vec<u8> {
    let code = attribute(1, &code.to_be_bytes());
    immediate(VERDICT, &attribute(2 | NESTED, &code))
}

fn immediate(register: u32, data: &[u8]) -> Vec<u8> {
    expression("immediate", &[attribute(1, &register.to_be_bytes()), attribute(2 | NESTED, data)])
}
