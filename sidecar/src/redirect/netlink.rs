//! Sends a transaction to the kernel and waits for its answers.

use std::io;
use std::time::Duration;

use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

use super::Error;
use super::nftables::Transaction;

/// The kernel answers at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer: zero, or an error number below it.
const ERROR: u16 = 2;

pub(super) fn send(transaction: Transaction) -> Result<(), Error> {
    let answers = transaction.answered;
    let bytes = transaction.finish();
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(NETFILTER))
            .map_err(io::Error::from)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).map_err(io::Error::from)?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&socket, &bytes, SendFlags::empty(), &kernel).map_err(io::Error::from)?;
    let mut buffer = vec![0_u8; 64 * 1024];
    let mut left = answers;
    while left > 0 {
        let (_, length) =
            recv(&socket, &mut buffer[..], RecvFlags::empty()).map_err(io::Error::from)?;
        for number in errors(&buffer[..length.min(64 * 1024)]) {
            refused(number)?;
            left = left.saturating_sub(1);
        }
    }
    Ok(())
}

/// The error numbers in a datagram of answers; pure.
fn errors(mut bytes: &[u8]) -> Vec<i32> {
    let mut numbers = Vec::new();
    while let Some((header, _)) = bytes.split_at_checked(16) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let Some(message) = bytes.get(..length).filter(|_| length >= 16) else { break };
        if let (ERROR, Some(number)) = (kind, message.get(16..20)) {
            numbers.push(i32::from_ne_bytes([number[0], number[1], number[2], number[3]]));
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    numbers
}

fn refused(number: i32) -> Result<(), Error> {
    if number == 0 {
        return Ok(());
    }
    let error = io::Error::from_raw_os_error(number.saturating_neg());
    Err(if error.kind() == io::ErrorKind::PermissionDenied {
        Error::NotPermitted
    } else {
        Error::Refused(error)
    })
}
