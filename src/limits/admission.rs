//! How much is worked on at a time. What is more is refused at once or after a short wait, so that what was admitted stays
//! fast; and no project has more than half, so that its flood leaves the others their half.

use std::{net::IpAddr, time::Duration};

use super::{
    fair_semaphore::{FairSemaphore, Permit, Permits},
    rate::local::network,
};
use crate::{config::Load, model::project::ProjectId, telemetry::metrics};

/// Bytes of a body from which on it takes a core for milliseconds to decompress it, or to take it apart.
pub const LARGE: usize = 256 << 10;
/// Whose body is read that has its key in it.
pub const NOBODY: ProjectId = ProjectId::from_stored(0);
/// Memory is counted in steps of this many bytes.
const STEP: usize = 64 << 10;

/// There is no permit for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overloaded {
    #[error("too many bodies are being read")]
    Memory,
    #[error("too many requests are being worked on")]
    Requests,
    #[error("too many large bodies are being worked on")]
    LargeBodies,
}

/// What bounds the work on requests.
#[derive(Clone)]
pub struct Admission {
    memory: FairSemaphore,
    /// Of that for bodies whose project is not known before they are read: each address has at most half of it.
    memory_of_strangers: FairSemaphore<IpAddr>,
    requests: FairSemaphore,
    /// Of large bodies: one for each core, so those of one project leave half of them to the others.
    large: FairSemaphore,
    wait: Duration,
}

/// Memory that a body may take; it grows with the body, and is given back when dropped.
pub struct Memory {
    permits: FairSemaphore,
    project_id: ProjectId,
    /// Also of these permits, for the address.
    of_stranger: Option<(FairSemaphore<IpAddr>, IpAddr)>,
    held: Vec<Permits>,
    bytes: usize,
}

impl Admission {
    pub fn new(load: &Load) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let steps = usize::try_from(load.body_memory.as_u64() / STEP as u64).unwrap_or(usize::MAX);
        Self {
            memory: FairSemaphore::new(steps),
            memory_of_strangers: FairSemaphore::new(steps / 2),
            requests: FairSemaphore::new(load.max_requests as usize),
            large: FairSemaphore::new(cores),
            wait: load.queue_timeout,
        }
    }

    /// Memory for a body of the project; none yet.
    pub fn memory(&self, project_id: ProjectId) -> Memory {
        Memory { permits: self.memory.clone(), project_id, of_stranger: None, held: Vec::new(), bytes: 0 }
    }

    /// Memory for a body that has its key in it. All of these together have the share of one project, and those of an
    /// address half of that: so one client that sends nothing but beginnings does not keep the others out.
    pub fn memory_of_stranger(&self, address: IpAddr) -> Memory {
        let mut memory = self.memory(NOBODY);
        memory.of_stranger = Some((self.memory_of_strangers.clone(), network(address)));
        memory
    }

    /// A permit for a large body, after a short wait if there is none now.
    pub async fn large(&self, project_id: ProjectId) -> Result<Permit, Overloaded> {
        self.large.acquire(project_id, self.wait).await.ok_or(Overloaded::LargeBodies)
    }

    /// A permit for a request, after a short wait if there is none now.
    pub async fn permit(&self, project_id: ProjectId) -> Result<Permit, Overloaded> {
        self.requests.acquire(project_id, self.wait).await.ok_or(Overloaded::Requests)
    }
}

impl Memory {
    /// Takes memory for `bytes` in all.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Overloaded> {
        if bytes <= self.bytes {
            return Ok(());
        }
        let steps = (bytes - self.bytes).div_ceil(STEP);
        let number = u32::try_from(steps).map_err(|_| Overloaded::Memory)?;
        if let Some((permits, address)) = &self.of_stranger {
            self.held.push(permits.try_acquire(*address, number).ok_or(Overloaded::Memory)?);
        }
        self.held.push(self.permits.try_acquire(self.project_id, number).ok_or(Overloaded::Memory)?);
        self.bytes += steps * STEP;
        metrics::body_memory_taken(steps * STEP);
        Ok(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        metrics::body_memory_given_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use bytesize::ByteSize;

    use super::*;

    fn admission() -> Admission {
        let load =
            Load { body_memory: ByteSize::kib(64 * 8), max_requests: 4, queue_timeout: Duration::ZERO };
        Admission::new(&load)
    }

    const ONE: ProjectId = ProjectId::from_stored(1);
    const TWO: ProjectId = ProjectId::from_stored(2);

    #[test]
    fn a_project_has_at_most_half_of_the_memory_and_gives_it_back() {
        let admission = admission();
        let mut body = admission.memory(ONE);
        body.grow_to(1).unwrap();
        body.grow_to(STEP).unwrap();
        body.grow_to(3 * STEP).unwrap();
        let mut second = admission.memory(ONE);
        assert_eq!(second.grow_to(2 * STEP), Err(Overloaded::Memory));
        let mut other = admission.memory(TWO);
        other.grow_to(4 * STEP).unwrap();
        drop(body);
        second.grow_to(4 * STEP).unwrap();
        assert_eq!(admission.memory(ProjectId::from_stored(3)).grow_to(1), Err(Overloaded::Memory));
    }

    #[test]
    fn an_address_leaves_half_of_what_is_for_keys_in_bodies_to_others() {
        let admission = admission();
        let (one, other) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut bodies: Vec<Memory> = (0..3).map(|_| admission.memory_of_stranger(one)).collect();
        bodies[0].grow_to(1).unwrap();
        bodies[1].grow_to(1).unwrap();
        assert_eq!(bodies[2].grow_to(1), Err(Overloaded::Memory));
        admission.memory_of_stranger(other).grow_to(2 * STEP).unwrap();
        admission.memory(ONE).grow_to(4 * STEP).unwrap();
    }

    #[tokio::test]
    async fn a_project_has_at_most_half_of_the_permits() {
        let admission = admission();
        let first = admission.permit(ONE).await.unwrap();
        let _second = admission.permit(ONE).await.unwrap();
        assert_eq!(admission.permit(ONE).await.err(), Some(Overloaded::Requests));
        admission.permit(TWO).await.unwrap();
        drop(first);
        admission.permit(ONE).await.unwrap();
    }
}
