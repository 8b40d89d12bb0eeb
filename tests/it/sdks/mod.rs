//! Other vendors' SDKs: as they come from their registries, by what they send, and by the answers that they understand.

mod posthog;
mod programs;
mod script;
mod segment;
