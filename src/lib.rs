//! weir takes batches of events, keeps each of them exactly once, and answers questions about them in milliseconds.
//!
//! # The path of an event
//!
//! ```text
//! SDK ──HTTP──► API ──► Redis: seen this id?  ──► JetStream: durable ack ──► 202
//!                                                      │
//!                                  durable consumer ◄──┘
//!                                        │  one transaction
//!                                        ├──► events    (every event, once)
//!                                        └──► activity  (who did what in which hour, as bitmaps)
//!                                                   │
//!                                         roll-up: activity_hourly, activity_daily
//!                                                   │
//! product teams ◄──HTTP── stats: set algebra over daily bitmaps
//! ```
//!
//! 1. A request comes through [`http::server`], which bounds connections, to [`http`], which gives it an id, and
//!    finds by its key who asks ([`projects::key_cache`]). All that follows carries the project's id. A body is
//!    read and decompressed ([`ingest::encoding`]) as far as there is memory for it, and waits for a permit
//!    ([`limits::admission`]).
//! 2. [`ingest::wire`] takes the body apart in one pass, without copying, whatever its shape; [`ingest::validate`]
//!    validates each event on its own, so a bad one costs its neighbours nothing. What passes can be stored.
//! 3. [`ingest`] then **checks, publishes, marks**: in one round trip to Redis the project's bucket gives tokens
//!    for the events ([`limits::rate`]), and [`ingest::dedup`] finds the ids that it has seen, which are
//!    duplicates; the rest goes in a message ([`stream::message`]), which requests that arrive together share, to
//!    JetStream ([`stream::publish`]); only after the stream's ack are the ids marked, and the client reads 202.
//!    Marked earlier, an event whose publish fails would be lost: its retry would look like a duplicate.
//! 4. `weir-worker` asks the stream's lanes for messages when there is a permit to write them, and hands them to
//!    [`store::write`]: one transaction stores the events, whose users were given dense numbers before
//!    ([`store::users::dictionary`]), the activity of exactly those that were new to the table, and the numbers of
//!    their messages ([`store::write::settled`]). After the commit it acks. A crash anywhere means that messages
//!    come again, and the unique index knows what it has. What the database refuses goes to
//!    [`stream::dead_letters`], and its neighbours get through.
//! 5. The worker also rolls activity up, on both editions of TimescaleDB: `sql/` hides the difference. It moves
//!    what merged users have stored ([`store::users::merges`]), removes users who were deleted
//!    ([`store::users::deletions`]) and events that are not kept any more ([`store::upkeep::expiry`]), and
//!    rebuilds what activity knows of promoted properties ([`store::promotions`]).
//! 6. A question ([`query`]) sees the database at one moment ([`store::read::snapshot`]). It fetches bitmaps
//!    ([`store::read::activity`]), or where these do not know the answer reads events, at a bounded cost
//!    ([`store::read::occurrences`]), and is answered by pure functions ([`stats`]).
//!
//! Redis is never the truth; without it everything works, at more cost. The stream is the buffer: without
//! the database events are taken, and stored when it is back.
//!
//! [`config`] is every option, [`telemetry::metrics`] every metric, `http::respond::problem` every error answer.

pub mod config;
pub mod http;
pub mod ingest;
pub mod limits;
pub mod model;
pub mod projects;
pub mod query;
pub mod signals;
pub mod stats;
pub mod store;
pub mod stream;
pub mod telemetry;
mod work;
