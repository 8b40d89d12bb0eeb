//! Bounds connections: all of them, and those of each address, so that one address cannot keep the others out.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::rate::local::network;
use crate::telemetry::metrics;

/// Counts open connections, and gives permits for more.
#[derive(Clone)]
pub(crate) struct Connections {
    permits: Arc<Semaphore>,
    /// The most of an address; nothing: as many as there are permits.
    share: Option<u32>,
    of_addresses: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// The permit of an open connection, given back when it is dropped.
pub(crate) struct ConnectionPermit {
    address: IpAddr,
    connections: Connections,
    _permit: OwnedSemaphorePermit,
}

/// Why there is no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// There are as many connections as may be.
    Full,
    /// The address has as many as it may.
    OfAddress,
}

impl Connections {
    pub(crate) fn new(all: u32, share: Option<u32>) -> Self {
        Self { permits: Arc::new(Semaphore::new(all as usize)), share, of_addresses: Arc::default() }
    }

    /// A permit for a connection from an address.
    pub(crate) fn try_acquire(&self, address: IpAddr) -> Result<ConnectionPermit, NotAdmitted> {
        let address = network(address);
        let permit = self.permits.clone().try_acquire_owned().map_err(|_| NotAdmitted::Full)?;
        let mut of_addresses = self.of_addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = of_addresses.entry(address).or_default();
        if self.share.is_some_and(|share| *of_address >= share) {
            return Err(NotAdmitted::OfAddress);
        }
        *of_address += 1;
        metrics::connection_opened();
        Ok(ConnectionPermit { address, connections: self.clone(), _permit: permit })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        metrics::connection_closed();
        let mut of_addresses = self.connections.of_addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_address) = of_addresses.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                of_addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_share_and_gives_it_back() {
        let connections = Connections::new(3, Some(2));
        let acquire = |address: &str| connections.try_acquire(address.parse().expect("an address"));
        let (first, second) = (acquire("2001:db8::1"), acquire("2001:db8::2"));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(acquire("2001:db8::3").err(), Some(NotAdmitted::OfAddress), "one network");
        let third = acquire("198.51.100.1");
        assert_eq!(acquire("198.51.100.2").err(), Some(NotAdmitted::Full));
        drop((first, third));
        assert!(acquire("2001:db8::3").is_ok());
        drop(second);
        assert!(connections.of_addresses.lock().expect("no panic").is_empty());
    }
}
