//! Connections on which no valid token was shown yet. They have places of their own, so that none of them takes one from
//! a node; when there are too many, the oldest goes. Asked by `incoming` for each connection that comes.
//!
//! What holds: never more than [`most`], and of one address never more than half as many; an address that has as many
//! loses its own oldest, not that of others. A node shows its token with its first call, a moment after it came.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// Strangers at once where there are places for many nodes, and where there are few.
const STRANGERS_MAX: usize = 1024;
const STRANGERS_MIN: usize = 16;

/// One address has every how-many-th place at the most: a fleet may be behind one, and comes back together.
const ADDRESS_PART: usize = 2;

/// Of an address of IPv6 so much counts: the rest is the holder's to choose.
const PREFIX_BITS: u32 = 64;

/// Strangers at once beside so many connections of nodes.
pub(super) fn most(connections_max: usize) -> usize {
    connections_max.clamp(STRANGERS_MIN, STRANGERS_MAX)
}

/// Everybody who has shown nothing yet.
pub(super) struct Strangers {
    known: Mutex<Known>,
    all_max: usize,
    address_max: usize,
}

#[derive(Default)]
struct Known {
    next: u64,
    /// By number, so that the first is the oldest.
    all: BTreeMap<u64, Entry>,
    /// How many there are of an address.
    of_address: HashMap<IpAddr, usize>,
}

struct Entry {
    address: IpAddr,
    sent_away: CancellationToken,
}

/// A stranger's place, until it is dropped.
pub(super) struct Stranger {
    strangers: Arc<Strangers>,
    number: u64,
    sent_away: CancellationToken,
}

impl Strangers {
    pub(super) fn new(connections_max: usize) -> Arc<Strangers> {
        let most = most(connections_max);
        Strangers::bounded(most, most / ADDRESS_PART)
    }

    fn bounded(all_max: usize, address_max: usize) -> Arc<Strangers> {
        Arc::new(Strangers { known: Mutex::default(), all_max, address_max })
    }

    /// A place for who comes; and whether the oldest had to go for it.
    pub(super) fn enter(self: &Arc<Strangers>, address: SocketAddr) -> (Stranger, bool) {
        let address = prefix(address.ip());
        let mut known = self.known();
        let of_address = known.of_address.get(&address).copied().unwrap_or(0);
        let goes = if of_address >= self.address_max {
            known.all.iter().find(|(_, entry)| entry.address == address).map(|(number, _)| *number)
        } else if known.all.len() >= self.all_max {
            known.all.first_key_value().map(|(number, _)| *number)
        } else {
            None
        };
        if let Some(entry) = goes.and_then(|number| known.leave(number)) {
            entry.sent_away.cancel();
        }
        let (number, sent_away) = (known.next, CancellationToken::new());
        known.next += 1;
        known.all.insert(number, Entry { address, sent_away: sent_away.clone() });
        *known.of_address.entry(address).or_default() += 1;
        (Stranger { strangers: Arc::clone(self), number, sent_away }, goes.is_some())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.known().all.len()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic while it was held would leave at most one count wrong.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn leave(&mut self, number: u64) -> Option<Entry> {
        let entry = self.all.remove(&number)?;
        if let Some(count) = self.of_address.get_mut(&entry.address) {
            *count -= 1;
            if *count == 0 {
                self.of_address.remove(&entry.address);
            }
        }
        Some(entry)
    }
}

impl Stranger {
    /// Cancelled when it has to go.
    pub(super) fn sent_away(&self) -> CancellationToken {
        self.sent_away.clone()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.strangers.known().leave(self.number);
    }
}

/// What counts as one address.
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - PREFIX_BITS))).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 1)
    }

    #[test]
    fn when_there_are_too_many_strangers_the_oldest_goes() {
        let strangers = Strangers::bounded(3, 2);
        let enter = |address: &str| strangers.enter(from(address));
        let (first, _) = enter("192.0.2.1");
        let (second, _) = enter("192.0.2.2");
        let (third, went) = enter("192.0.2.3");
        assert!(!went);
        let (_fourth, went) = enter("192.0.2.4");
        let away = [&first, &second, &third].map(|stranger| stranger.sent_away().is_cancelled());
        assert_eq!((went, away, strangers.count()), (true, [true, false, false], 3));
        drop((first, second));
        let (_fifth, went) = enter("192.0.2.5");
        assert_eq!((went, third.sent_away().is_cancelled(), strangers.count()), (false, false, 3));
    }

    #[test]
    fn an_address_with_too_many_loses_its_own_oldest_and_a_network_of_ipv6_is_one_address() {
        let strangers = Strangers::bounded(100, 2);
        let (other, _) = strangers.enter(from("192.0.2.1"));
        for addresses in [["192.0.2.2", "::ffff:192.0.2.2", "192.0.2.2"], ["2001:db8::1", "2001:db8::2", "2001:db8::3"]]
        {
            let [first, second, third] = addresses.map(|address| strangers.enter(from(address)).0);
            let away = [&first, &second, &third, &other].map(|stranger| stranger.sent_away().is_cancelled());
            assert_eq!(away, [true, false, false, false], "{addresses:?}");
        }
        assert_eq!(strangers.count(), 1);
        assert_eq!(strangers.known().of_address.len(), 1, "nothing is kept of who has gone");
    }
}
