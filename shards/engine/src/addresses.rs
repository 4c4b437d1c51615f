//! How many connections each client address has, over all shards: `max.connections.per.ip`. Lives on shard 0, which every shard tells of
//! those that come and go.
//!
//! Invariant: an address is in here as long as it has connections, so there are no more of them than connections.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Connections by address. Ordered, not hashed: clients choose what is in here.
#[derive(Debug, Default)]
pub struct Addresses {
    counts: BTreeMap<IpAddr, u64>,
}

/// Where shard 0's count of a connection stands, as its own shard knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Shard 0 was asked and has not answered.
    Asked,
    /// It is counted, and shard 0 is to be told when it goes.
    Counted,
    /// It was one too many, and is not counted.
    Refused,
}

impl Addresses {
    /// A connection came: whether it may stay, and then it is counted.
    pub fn came(&mut self, ip: IpAddr, max: u64) -> bool {
        let count = self.counts.get(&key(ip)).copied().unwrap_or(0);
        let may_stay = count < max;
        if may_stay {
            self.counts.insert(key(ip), count + 1);
        }
        may_stay
    }

    /// One that was counted is gone.
    pub fn went(&mut self, ip: IpAddr) {
        let count = self.counts.get_mut(&key(ip)).expect("what went has come");
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&key(ip));
        }
    }
}

/// A listener for both families sees an IPv4 client under an IPv6 address; it is one client all the same.
fn key(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_counted_up_to_its_bound_and_forgotten_when_it_has_left() {
        let mut addresses = Addresses::default();
        let [one, mapped, other] = ["10.0.0.1", "::ffff:10.0.0.1", "fe80::1"].map(|ip| ip.parse::<IpAddr>().unwrap());
        assert!(addresses.came(one, 2) && addresses.came(mapped, 2));
        assert!(!addresses.came(one, 2), "both spellings are one client");
        assert!(addresses.came(other, 2));
        addresses.went(mapped);
        assert!(addresses.came(one, 2));
        assert!(!addresses.came(one, 1), "the bound was lowered meanwhile");
        [one, one, other].into_iter().for_each(|ip| addresses.went(ip));
        assert_eq!(addresses.counts.len(), 0);
    }
}
