//! Ways to an origin: a proxy is read again as it is shown, which is without its credentials; an exception more never brings a
//! proxy back; an entry for a host is found.
//!
//! The input is lines, each of which is read as all of these.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tur_http::{HostEntry, NoProxy, Proxy};

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for line in text.lines() {
        proxy(line);
        entry(line);
    }
    exceptions(text);
});

fn proxy(line: &str) {
    let Ok(proxy) = line.parse::<Proxy>() else {
        return;
    };
    let shown = proxy.to_string();
    let again: Proxy = shown.parse().expect("what is shown can be read");
    let bare = Proxy {
        credentials: None,
        ..proxy.clone()
    };
    assert_eq!(again, bare, "{shown}");
    assert!(!shown.contains('@') && proxy.port != 0);
    assert_eq!(format!("{proxy:?}"), format!("{bare:?}"));
}

fn exceptions(text: &str) {
    let list = NoProxy::read(text);
    let longer = NoProxy::read(&format!("{text},added.example,*.star.example,10.0.0.0/8"));
    for host in ["h.example", "localhost", "192.0.2.7", "[2001:db8::1]", text] {
        for port in [80, 443, 8_080] {
            assert!(
                !list.has(host, port) || longer.has(host, port),
                "{host}:{port}"
            );
        }
    }
    assert!(longer.has("Added.Example.", 443) && longer.has("below.added.example", 80));
    assert!(longer.has("10.1.2.3", 80));
    assert!(NoProxy::read("*").has(text, 80));
}

fn entry(line: &str) {
    let Ok(entry) = line.parse::<HostEntry>() else {
        return;
    };
    assert!(!entry.addresses.is_empty() && entry.port != 0);
    let asked = entry.host.clone().unwrap_or("any.example".to_owned());
    let entries = [entry.clone()];
    let found = HostEntry::find(&entries, &asked.to_ascii_uppercase(), entry.port);
    assert_eq!(found, Some(&entry.addresses[..]));
    assert!(HostEntry::find(&entries, &asked, entry.port ^ 1).is_none());
    if entry.host.is_some() {
        assert!(HostEntry::find(&entries, &format!("x{asked}"), entry.port).is_none());
    }
}
