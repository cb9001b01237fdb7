//! The side of this machine that connections leave from (`--interface`).
//!
//! Read [`Local`]. Names are looked up as ever: the resolver of the system is bound to nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{SockRef, Socket};
use tokio::net::TcpSocket;

use crate::{IpFamily, NetError};

/// An address of this machine, or one of its interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Local {
    /// Connections have this address.
    Address(IpAddr),
    /// Connections leave through this interface, whatever the routes say.
    Device(String),
}

impl Local {
    /// Reads an address or the name of an interface, and tries it.
    ///
    /// # Errors
    /// `Interface` if the system has none such, or lets nobody bind to one.
    pub(crate) fn find(text: &str) -> Result<Self, NetError> {
        let local = match text.parse() {
            Ok(address) => Local::Address(address),
            Err(_) => Local::Device(text.to_owned()),
        };
        let tried = match local.family() {
            Some(IpFamily::V6) => TcpSocket::new_v6(),
            _ => TcpSocket::new_v4(),
        };
        match tried.and_then(|socket| local.bind(SockRef::from(&socket))) {
            Ok(()) => Ok(local),
            Err(error) => Err(NetError::Interface(error.to_string())),
        }
    }

    /// The only family that can leave from here; `None` if either can.
    pub(crate) fn family(&self) -> Option<IpFamily> {
        match self {
            Local::Address(IpAddr::V4(_)) => Some(IpFamily::V4),
            Local::Address(IpAddr::V6(_)) => Some(IpFamily::V6),
            Local::Device(_) => None,
        }
    }

    /// Binds a socket that is not connected yet.
    ///
    /// # Errors
    /// `NetworkDown` if the address or the interface is not there (any more).
    pub(crate) fn bind(&self, socket: SockRef<'_>) -> io::Result<()> {
        let bound = match self {
            Local::Address(ip) => socket.bind(&SocketAddr::new(*ip, 0).into()),
            Local::Device(name) => bind_device(&socket, name),
        };
        bound.map_err(|error| {
            // ENODEV has no kind of its own.
            let gone = error.kind() == io::ErrorKind::AddrNotAvailable
                || error.raw_os_error() == Some(ENODEV);
            if gone {
                io::Error::new(
                    io::ErrorKind::NetworkDown,
                    "this machine has no such address or interface",
                )
            } else {
                error
            }
        })
    }
}

#[cfg(any(target_os = "android", target_os = "linux"))]
fn bind_device(socket: &Socket, name: &str) -> io::Result<()> {
    if name.is_empty() {
        return Err(io::Error::other("the name is empty"));
    }
    socket.bind_device(Some(name.as_bytes()))
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn bind_device(_socket: &Socket, _name: &str) -> io::Result<()> {
    let text = "here only an address can be given, not the name of an interface";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}

/// The same number on every Unix.
const ENODEV: i32 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_does_not_have_is_said_at_once() {
        let find = |text| Local::find(text).map_err(|error| error.to_string());
        assert_eq!(find("127.0.0.1"), Ok(Local::Address([127, 0, 0, 1].into())));
        // RFC 5737: nobody has it.
        for nothing in [
            "192.0.2.77",
            "no-such-dev0",
            "",
            "a name that is far too long for one",
        ] {
            let error = find(nothing).expect_err(nothing);
            assert!(error.contains("interface"), "{error}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_interface_has_a_name() {
        let found = Local::find("lo").expect("every Linux has one");
        assert_eq!(
            (found.family(), found),
            (None, Local::Device("lo".to_owned()))
        );
    }
}
