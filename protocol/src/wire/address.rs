//! Where a coordinator is and who it must be: `<coordinator id>@host:port`.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{CoordinatorId, HexError};

/// Characters of a host name (RFC 1035, section 2.3.4).
const HOST_CHARS_MAX: usize = 253;

/// A coordinator's address: its identity, which the worker pins, and where to reach it.
///
/// Text form: `<id in hex>@host:port`, an IPv6 address in brackets: `0x…@[::1]:7070`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CoordinatorAddress {
    id: CoordinatorId,
    host: String,
    port: u16,
}

/// Text that is no coordinator address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// No `@`: the identity is missing.
    #[error("a coordinator's address is <coordinator id>@host:port; the id before @ is missing")]
    NoId,
    /// The part before `@` is no key.
    #[error("the coordinator id before @ is wrong: {0}")]
    Id(#[from] HexError),
    /// The part after `@` has no port, or one that is not 1 to 65535.
    #[error("a coordinator's address ends in :port (1 to 65535)")]
    Port,
    /// The host is empty, too long, or holds a character that no host name has.
    #[error("'{host}' is no host name or IP address (an IPv6 address stands in brackets)")]
    Host {
        /// What was found, cut to 64 characters.
        host: String,
    },
}

impl CoordinatorAddress {
    /// An address from its parts; `host` is a name, an IPv4 address, or an IPv6 address without brackets.
    pub fn new(id: CoordinatorId, host: &str, port: u16) -> Result<Self, AddressError> {
        if port == 0 {
            return Err(AddressError::Port);
        }
        let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let is_ipv6 = host.parse::<core::net::Ipv6Addr>().is_ok();
        let is_name = !host.is_empty() && host.len() <= HOST_CHARS_MAX && host.bytes().all(name);
        if is_ipv6 || is_name {
            Ok(Self { id, host: host.to_owned(), port })
        } else {
            Err(AddressError::Host { host: host.chars().take(64).collect() })
        }
    }

    /// The key the coordinator must prove to hold.
    pub const fn id(&self) -> CoordinatorId {
        self.id
    }

    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The UDP port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for CoordinatorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, host, port } = self;
        if host.contains(':') { write!(f, "{id}@[{host}]:{port}") } else { write!(f, "{id}@{host}:{port}") }
    }
}

impl FromStr for CoordinatorAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, place) = text.split_once('@').ok_or(AddressError::NoId)?;
        let id = id.parse()?;
        let (host, port) = place.rsplit_once(':').ok_or(AddressError::Port)?;
        // `u16::from_str` takes a leading '+'.
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or(AddressError::Port)?;
        match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(ipv6) if ipv6.contains(':') => Self::new(id, ipv6, port),
            None if !host.contains(':') => Self::new(id, host, port),
            _ => Err(AddressError::Host { host: host.chars().take(64).collect() }),
        }
    }
}

impl TryFrom<String> for CoordinatorAddress {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<CoordinatorAddress> for String {
    fn from(address: CoordinatorAddress) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: CoordinatorId = CoordinatorId([0x5a; 32]);

    #[test]
    fn an_address_goes_out_and_comes_back() {
        for host in ["localhost", "192.168.0.7", "::1", "fe80::1:2", "node-1.example_x.org"] {
            let address = CoordinatorAddress::new(ID, host, 7070).unwrap();
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        let bare = format!("{}@h:1", "5a".repeat(32));
        assert_eq!(bare.parse(), CoordinatorAddress::new(ID, "h", 1));
        assert!(CoordinatorAddress::new(ID, "::1", 7).unwrap().to_string().ends_with("@[::1]:7"));
    }

    #[test]
    fn errors_say_which_part_is_wrong() {
        let parse = |text: &str| text.parse::<CoordinatorAddress>().unwrap_err();
        let id = "5a".repeat(32);
        assert_eq!(parse("localhost:7070"), AddressError::NoId);
        assert_eq!(parse("12@localhost:7070"), AddressError::Id(HexError::Length { want: 64, got: 2 }));
        for port in ["", ":", ":0", ":65536", ":+1", ":x"] {
            assert_eq!(parse(&format!("{id}@localhost{port}")), AddressError::Port, "{port}");
        }
        for host in ["", "::1", "[::1", "[h]", "a b", "h/x", "[::zz]"] {
            let error = parse(&format!("{id}@{host}:1"));
            assert!(matches!(error, AddressError::Host { .. }), "{host}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_an_error(text in ".{0,120}") {
            if let Ok(address) = text.parse::<CoordinatorAddress>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}
