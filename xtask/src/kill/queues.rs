//! What waits in the buffers of sockets, as the system tells it.

/// Bytes in the send buffers of sockets on `port` and in the receive buffers of their peers on this machine; `None`
/// where the system does not say.
pub(crate) fn queued(port: u16) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/net/tcp").ok()?;
    Some(sum(&text, port))
}

/// proc(5): after the number of a row come the local and the remote address, the state, and the two queues, in
/// hexadecimal.
fn sum(text: &str, port: u16) -> u64 {
    let rows = text.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote) = (port_of(words.next()?)?, port_of(words.next()?)?);
        let (send, receive) = words.nth(1)?.split_once(':')?;
        let bytes = |digits| u64::from_str_radix(digits, 16).ok();
        // A listening socket counts connections there, and has no remote port.
        match (local == port, remote == port) {
            (true, false) if remote != 0 => bytes(send),
            (false, true) => bytes(receive),
            _ => None,
        }
    });
    rows.sum()
}

fn port_of(address: &str) -> Option<u16> {
    u16::from_str_radix(address.split_once(':')?.1, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_counted_and_listeners_are_not() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000\n\
             1: 0100007F:1F90 0100007F:C001 01 00000010:00000400 00:00000000\n\
             2: 0100007F:C001 0100007F:1F90 01 00000800:00000100 00:00000000\n\
             3: 0100007F:C002 0100007F:0050 01 00000001:00000001 00:00000000\n";
        assert_eq!(sum(text, 0x1f90), 0x10 + 0x100);
        assert_eq!(sum(text, 80), 1);
        assert_eq!(sum("", 80), 0);
    }
}
