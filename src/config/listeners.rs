//! `listeners` and `advertised.listeners`: Kafka's lists of `NAME://host:port`, resolved to what is bound and what clients are told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use floe_engine::config::Listener;

/// The name of a listener given without one.
pub const PLAIN: &str = "PLAINTEXT";

/// One item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Upper-case name.
    pub name: String,
    /// As written, without brackets; empty means every interface.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// Reads a list; what is wrong is said in words that follow the setting's name.
pub fn endpoints(text: &str) -> Result<Vec<Endpoint>, String> {
    let mut list: Vec<Endpoint> = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (name, address) = item.split_once("://").unwrap_or((PLAIN, item));
        let name = name.to_ascii_uppercase();
        if matches!(name.as_str(), "SSL" | "SASL_SSL" | "SASL_PLAINTEXT") {
            return Err(format!("`{item}`: TLS and SASL are not there yet; use PLAINTEXT:// on a trusted network"));
        }
        let (host, port) = host_port(address).map_err(|wrong| format!("`{item}`: {wrong}"))?;
        if list.iter().any(|other| other.name == name) {
            return Err(format!(
                "two listeners are called {name}; give each another name, such as INTERNAL:// and EXTERNAL://"
            ));
        }
        list.push(Endpoint { name, host, port });
    }
    Ok(list)
}

/// Splits `host:port`, `[v6]:port` and `:port`.
pub fn host_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text.rsplit_once(':').ok_or_else(|| "it has no port; write HOST:PORT".to_owned())?;
    let port = port.parse().map_err(|_| format!("`{port}` is not a port from 0 to 65535"))?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner,
        None if host.contains(':') => {
            return Err("an IPv6 address has to stand in brackets, as in [::1]:9092".to_owned());
        }
        None => host,
    };
    Ok((host.to_owned(), port))
}

/// Puts the two lists together. `host_name` is asked only when a listener takes every interface and nobody says what to tell clients;
/// the second part of the answer are lines for the log about such choices.
pub fn resolve(
    listen: &[Endpoint],
    advertised: &[Endpoint],
    host_name: impl Fn() -> String,
) -> Result<(Vec<Listener>, Vec<String>), String> {
    if listen.is_empty() {
        return Err("there is no listener; give at least one, such as PLAINTEXT://127.0.0.1:9092".to_owned());
    }
    if let Some(stray) = advertised.iter().find(|told| !listen.iter().any(|bound| bound.name == told.name)) {
        let names: Vec<&str> = listen.iter().map(|bound| bound.name.as_str()).collect();
        return Err(format!("advertised.listeners names {}, but the listeners are {}", stray.name, names.join(", ")));
    }
    let mut notes = Vec::new();
    let mut resolved = Vec::new();
    for bound in listen {
        let told = advertised.iter().find(|told| told.name == bound.name);
        let (advertised_host, advertised_port) = match told {
            Some(told) if is_every_interface(&told.host) => {
                return Err(format!(
                    "clients cannot connect to `{}`, which stands for every interface; advertise a name or an address that they reach",
                    told.host
                ));
            }
            // Port 0 in what is advertised means "the one that is bound": useful where only the host differs.
            Some(told) => (told.host.clone(), if told.port == 0 { bound.port } else { told.port }),
            None if is_every_interface(&bound.host) => {
                let host = host_name();
                notes.push(format!(
                    "listener {} takes every interface and clients are told {host}:{} (this host's name); if they cannot resolve that, \
                     start with --advertise HOST:PORT",
                    bound.name, bound.port
                ));
                (host, bound.port)
            }
            None => (bound.host.clone(), bound.port),
        };
        resolved.push(Listener {
            name: bound.name.clone(),
            bind_host: if bound.host.is_empty() { "0.0.0.0".to_owned() } else { bound.host.clone() },
            bind_port: bound.port,
            advertised_host,
            advertised_port,
        });
    }
    Ok((resolved, notes))
}

fn is_every_interface(host: &str) -> bool {
    host.is_empty()
        || host.parse::<IpAddr>().is_ok_and(|address| {
            address == IpAddr::V4(Ipv4Addr::UNSPECIFIED) || address == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        })
}

/// `host:port` with brackets around IPv6.
pub fn shown(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listen: &str, advertised: &str) -> Result<Vec<String>, String> {
        let (listeners, notes) = resolve(&endpoints(listen)?, &endpoints(advertised)?, || "ice".to_owned())?;
        let mut shown: Vec<String> = listeners
            .iter()
            .map(|l| {
                format!(
                    "{} {} -> {}",
                    l.name,
                    super::shown(&l.bind_host, l.bind_port),
                    super::shown(&l.advertised_host, l.advertised_port)
                )
            })
            .collect();
        shown.extend(notes.iter().map(|_| "note".to_owned()));
        Ok(shown)
    }

    type Row<'a> = (&'a str, &'a str, Result<&'a [&'a str], &'a str>);

    #[test]
    fn lists_become_what_is_bound_and_told() {
        let rows: &[Row<'_>] = &[
            ("127.0.0.1:9092", "", Ok(&["PLAINTEXT 127.0.0.1:9092 -> 127.0.0.1:9092"])),
            ("PLAINTEXT://:9092", "", Ok(&["PLAINTEXT 0.0.0.0:9092 -> ice:9092", "note"])),
            ("[::]:9092", "", Ok(&["PLAINTEXT [::]:9092 -> ice:9092", "note"])),
            ("0.0.0.0:9092", "b.example:19092", Ok(&["PLAINTEXT 0.0.0.0:9092 -> b.example:19092"])),
            ("0.0.0.0:9092", "b.example:0", Ok(&["PLAINTEXT 0.0.0.0:9092 -> b.example:9092"])),
            (
                "IN://10.0.0.1:9092, ext://0.0.0.0:9093",
                "EXT://b.example:443",
                Ok(&["IN 10.0.0.1:9092 -> 10.0.0.1:9092", "EXT 0.0.0.0:9093 -> b.example:443"]),
            ),
            ("", "", Err("there is no listener")),
            ("localhost", "", Err("no port")),
            ("localhost:99999", "", Err("not a port")),
            ("::1:9092", "", Err("brackets")),
            ("a:1,b:2", "", Err("two listeners are called PLAINTEXT")),
            ("a:1", "X://b:2", Err("advertised.listeners names X")),
            ("a:1", "0.0.0.0:2", Err("every interface")),
            ("SSL://a:1", "", Err("TLS and SASL are not there yet")),
        ];
        for (listen, advertised, expect) in rows {
            match (check(listen, advertised), expect) {
                (Ok(got), Ok(want)) => assert_eq!(&got, want, "{listen} {advertised}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{listen} {advertised}: {got}"),
                (got, want) => panic!("{listen} {advertised}: {got:?}, wanted {want:?}"),
            }
        }
    }
}
