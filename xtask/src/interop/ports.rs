//! Ports that nobody has, just now.
//!
//! Between [`free`] and the server that takes them somebody else may; who starts a server tries again then
//! ([`super::servers::started`]).

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use anyhow::{Context, Result, bail};

/// Different ports of the loopback interface, free for TCP and for UDP.
///
/// # Errors
/// The system has none.
pub(super) fn free<const N: usize>() -> Result<[u16; N]> {
    // All are held until the last one is found, so that none comes twice.
    let mut held = Vec::new();
    for _ in 0..N {
        held.push(pair()?);
    }
    let mut ports = [0; N];
    for (port, (listener, _)) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn pair() -> Result<(TcpListener, UdpSocket)> {
    for _ in 0..100 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
        if let Ok(socket) = UdpSocket::bind(listener.local_addr()?) {
            return Ok((listener, socket));
        }
    }
    bail!("no port is free for both TCP and UDP")
}

/// True if somebody has that port for UDP. A server of QUIC cannot be asked without speaking it.
pub(super) fn is_taken_for_udp(port: u16) -> bool {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ports_are_different() {
        let ports: [u16; 20] = free().unwrap();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 20);
        assert!(ports.iter().all(|port| *port > 0));
    }

    #[test]
    fn a_port_of_udp_is_seen_to_be_taken() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(is_taken_for_udp(socket.local_addr().unwrap().port()));
    }
}
