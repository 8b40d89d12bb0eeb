//! What happens when a part is away, dies or is another one.

mod dead_letters;
mod durability;
mod older_copies;
mod orphans;
mod outages;
mod poison;
mod sharing;
mod transactions;
