//! Parts are written; what the database refuses is parted from its neighbours until it stands alone, and set aside.

use std::time::Instant;

use async_nats::jetstream::Message;
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};
use weir::{
    model::event::Batch,
    store::{
        StoreError,
        users::LinkRefusal,
        write::{self, MessagePart, NotWritten},
    },
    telemetry::metrics::{self, CaughtBy},
};

use super::{Aside, Backoff, Ended, Writer, parts::RefusedPart, sequence};

/// How often a transaction is tried whose failure is neither a refusal nor a matter of operation.
const TRIES: u32 = 5;
/// Events that stay together when one of them was refused: those that are written again with each further refusal.
const TOGETHER: usize = 500;

/// Parts of one transaction.
struct Work<'m> {
    parts: Vec<MessagePart<'m>>,
    tries: u32,
}

impl Writer {
    /// Writes parts, in transactions of about as many events as the configuration says.
    pub(super) async fn write_parts(
        &self,
        stream: DateTime<Utc>,
        messages: &[Message],
        parts: Vec<MessagePart<'_>>,
        aside: &mut Aside,
        ending: &CancellationToken,
    ) -> Result<(), Ended> {
        let mut waiting = cut(parts, self.events);
        let mut pause = Backoff::default();
        let mut anything_stored = false;
        while let Some(Work { parts, tries }) = waiting.pop() {
            let begun = Instant::now();
            let NotWritten { error, culprit } =
                match write::write(&self.pool, &self.dictionaries, self.window, stream, &parts).await {
                    Ok(written) => {
                        metrics::write(begun.elapsed());
                        self.trouble.is_over();
                        count(written);
                        self.visible.stored(&parts);
                        parts.iter().for_each(log_stored);
                        pause = Backoff::default();
                        anything_stored = true;
                        continue;
                    }
                    Err(not_written) => not_written,
                };
            let (is_refusal, is_operational) = (error.kind().is_refusal(), error.kind().is_operational());
            if is_operational || (!is_refusal && tries < TRIES) {
                pause.later(&self.trouble, &error, ending).await?;
                waiting.push(Work { parts, tries: tries + 1 });
                continue;
            }
            match alone(parts) {
                Err(parts) => {
                    let pieces = match culprit {
                        Some(place) => without(parts, place),
                        None => halves(parts),
                    };
                    // A refusal of unknown kind is tried once more in each piece.
                    waiting.extend(pieces.into_iter().map(|parts| Work { parts, tries }));
                }
                // What fails for no clear reason is given up only if others get through.
                Ok(part) if !is_refusal && !anything_stored => {
                    pause.later(&self.trouble, &error, ending).await?;
                    aside.postponed.insert(part.sequence);
                }
                Ok(part) => {
                    let message = messages.iter().find(|message| sequence(message) == part.sequence);
                    let message = message.expect("a part is of one of the messages");
                    self.set_aside(message, RefusedPart::new(reason(&error), &error, &part.batch), aside)
                        .await;
                }
            }
        }
        Ok(())
    }
}

/// Why an event is set aside.
fn reason(error: &StoreError) -> &'static str {
    match error {
        StoreError::Panicked => "panicked",
        error if error.kind().is_refusal() => "refused",
        _ => "failed",
    }
}

fn count(written: write::Written) {
    metrics::events_stored(written.stored);
    metrics::events_duplicate(CaughtBy::Store, written.duplicates);
    metrics::events_dropped("user_deleted", written.of_deleted_users);
    metrics::events_dropped("project_deleted", written.of_deleted_projects);
    metrics::events_dropped("expired", written.expired);
    metrics::events_only_about_users(written.only_about_users);
    for reason in written.refused_links.into_iter().map(LinkRefusal::reason) {
        metrics::link_refused(reason);
        debug!(reason, "an anonymous id does not become an alias");
    }
    metrics::traits_refused("too_long", written.refused_traits.too_long);
    metrics::traits_refused("too_many", written.refused_traits.too_many);
}

fn log_stored(part: &MessagePart<'_>) {
    let batch = &part.batch;
    let age = (Utc::now() - batch.received_at).to_std().unwrap_or_default();
    metrics::ingest_to_stored(age);
    let (project_id, events) = (batch.project_id.get(), batch.events.len());
    info!(request_id = %batch.request_id, project_id, events, "stored");
}

/// Cuts parts into transactions of about so many events. The last comes first, since work is taken from the end; in each
/// they are in their order, because the first that says whose a name is holds.
fn cut(parts: Vec<MessagePart<'_>>, events: usize) -> Vec<Work<'_>> {
    let mut works: Vec<Work<'_>> = Vec::new();
    let mut room = 0;
    for part in parts.into_iter().rev() {
        let size = part.batch.events.len();
        match works.last_mut() {
            Some(work) if size <= room => {
                room -= size;
                work.parts.push(part);
            }
            _ => {
                room = events.saturating_sub(size);
                works.push(Work { parts: vec![part], tries: 0 });
            }
        }
    }
    for work in &mut works {
        work.parts.reverse();
    }
    works
}

/// The part, if it is one with a single event.
fn alone(mut parts: Vec<MessagePart<'_>>) -> Result<MessagePart<'_>, Vec<MessagePart<'_>>> {
    if parts.len() == 1 && parts[0].batch.events.len() <= 1 { Ok(parts.remove(0)) } else { Err(parts) }
}

/// Two pieces of about the same size.
fn halves(mut parts: Vec<MessagePart<'_>>) -> Vec<Vec<MessagePart<'_>>> {
    if parts.len() > 1 {
        let second = parts.split_off(parts.len() / 2);
        return vec![second, parts];
    }
    let first = &mut parts[0];
    let second = split_off(first, first.batch.events.len() / 2);
    vec![vec![second], parts]
}

/// The event at `place`, and what remains in small pieces.
fn without(mut parts: Vec<MessagePart<'_>>, (part, event): (usize, usize)) -> Vec<Vec<MessagePart<'_>>> {
    let after = split_off(&mut parts[part], event + 1);
    let culprit = split_off(&mut parts[part], event);
    parts.push(after);
    parts.retain(|part| !part.batch.events.is_empty());
    let mut pieces: Vec<_> = cut(parts, TOGETHER).into_iter().map(|work| work.parts).collect();
    pieces.push(vec![culprit]);
    pieces
}

/// Takes the events from `at` on out of a part.
fn split_off<'m>(part: &mut MessagePart<'m>, at: usize) -> MessagePart<'m> {
    let events = part.batch.events.split_off(at);
    let batch = Batch {
        project_id: part.batch.project_id,
        request_id: part.batch.request_id.clone(),
        received_at: part.batch.received_at,
        copies: part.batch.copies,
        events,
    };
    MessagePart { project: part.project.clone(), batch, sequence: part.sequence }
}
