//! The places of connections: some for all, and a share of them for each address, so that one cannot take them from the others.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::rate::local::network;
use crate::telemetry::metrics;

/// Gives places.
#[derive(Clone)]
pub(crate) struct Places {
    room: Arc<Semaphore>,
    /// Of an address; nothing: as many as there are.
    share: Option<u32>,
    taken: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// The place of a connection, given back when it is dropped.
pub(crate) struct Place {
    address: IpAddr,
    places: Places,
    _permit: OwnedSemaphorePermit,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// All are taken.
    Full,
    /// The address has its share.
    OfAddress,
}

impl Places {
    pub(crate) fn new(all: u32, share: Option<u32>) -> Self {
        Self { room: Arc::new(Semaphore::new(all as usize)), share, taken: Arc::default() }
    }

    /// A place for a connection from an address.
    pub(crate) fn take(&self, address: IpAddr) -> Result<Place, NoPlace> {
        let address = network(address);
        let permit = self.room.clone().try_acquire_owned().map_err(|_| NoPlace::Full)?;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = taken.entry(address).or_default();
        if self.share.is_some_and(|share| *of_address >= share) {
            return Err(NoPlace::OfAddress);
        }
        *of_address += 1;
        metrics::connection_opened();
        Ok(Place { address, places: self.clone(), _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::connection_closed();
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_address) = taken.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_share_and_gives_it_back() {
        let places = Places::new(3, Some(2));
        let take = |address: &str| places.take(address.parse().expect("an address"));
        let (first, second) = (take("2001:db8::1"), take("2001:db8::2"));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(take("2001:db8::3").err(), Some(NoPlace::OfAddress), "one network");
        let third = take("198.51.100.1");
        assert_eq!(take("198.51.100.2").err(), Some(NoPlace::Full));
        drop((first, third));
        assert!(take("2001:db8::3").is_ok());
        drop(second);
        assert!(places.taken.lock().expect("no panic").is_empty());
    }
}
