//! How many connections and handshakes there may be.

use clap::Args;

use crate::connection_limits::Limits;
use crate::memory_limit;

/// What bounds the memory that others can make us use.
#[derive(Clone, Debug, Args)]
pub struct LimitArgs {
    /// How many connections may be open at once, inbound and outbound counted apart. Default: what fits
    /// into the container's memory limit, 16384 at most.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: Option<u32>,
    /// How many inbound ones of one address (IPv6: of one /64). Default: half of them.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections_per_source: Option<u32>,
    /// How many inbound ones of clients that prove no identity. Default: three quarters of them.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_unidentified_connections: Option<u32>,
    /// How many KiB connections may hold whose HTTP is read (`forwardedClientCert`), 256 each at least; half
    /// is for one address, three quarters for clients that prove no identity. Default: half of what is left of
    /// the container's memory limit, beside the program itself.
    #[arg(long, value_name = "KIB", value_parser = clap::value_parser!(u32).range(512..))]
    pub http_memory: Option<u32>,
    /// How many handshakes may be under way at once; the oldest gives way to those above.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_handshakes: u32,
    /// How many of them from one address (IPv6: from one /64).
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_handshakes_per_source: u32,
}

impl LimitArgs {
    /// The limits of inbound connections where `all` fit.
    pub(crate) fn inbound(&self, all: u32) -> Limits {
        let of_source = self.max_connections_per_source.unwrap_or(all / 2);
        let unidentified = self.max_unidentified_connections.unwrap_or(all - all / 4);
        let [all, of_source, unidentified] =
            [all, of_source, unidentified].map(|most| most.max(1) as usize);
        Limits { all, of_source, unidentified }
    }

    /// How many bytes connections may hold whose HTTP is read.
    pub(crate) fn http_memory(&self) -> usize {
        let given = self.http_memory.map(|kib| kib as usize * 1024);
        given.unwrap_or_else(memory_limit::http_memory)
    }

    /// The limits of outbound ones: the application is the only source.
    pub(crate) fn outbound(all: u32) -> Limits {
        let all = all.max(1) as usize;
        Limits { all, of_source: all, unidentified: all }
    }

    /// How many handshakes there may be where `all` connections fit, and how many of one source: those
    /// that are under way leave room for connections that are past theirs.
    pub(crate) fn handshakes(&self, all: u32) -> (usize, usize) {
        let most = self.max_handshakes.min((all / 2).max(1));
        (most as usize, self.max_handshakes_per_source.min(most) as usize)
    }
}
