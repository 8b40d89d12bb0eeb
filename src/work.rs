//! Work that takes a core for long. Few threads serve all tasks: a task that waits for nothing holds its thread, and may
//! hold up even the watch over all sockets, which that thread has taken on.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures::{FutureExt, Stream, TryStreamExt, future::BoxFuture, stream::BoxStream};
use tokio::task::yield_now;

/// How long a task may work through rows until others have their turn: longer than a turn costs, shorter than anybody notices.
const SLICE: Duration = Duration::from_millis(1);
/// Rows between two looks at the clock, which costs as much as a small part of a row.
const ROWS: u32 = 16;

/// Does what may take a core for milliseconds. Other tasks are served by another thread meanwhile.
pub fn long<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// The same if it is much. What is little is done here: another thread costs some ten microseconds.
pub fn long_if<T>(is_much: bool, work: impl FnOnce() -> T) -> T {
    if is_much { long(work) } else { work() }
}

/// Rows between which other tasks have their turn, however fast they come and whatever is done with each.
///
/// A connection to the database does not see to that: it hands on rows as long as bytes have come, and waits for nothing.
pub fn in_slices<T, E>(rows: BoxStream<'_, Result<T, E>>) -> Slices<'_, T, E> {
    Slices { rows, begun: Instant::now(), handed_on: 0, turn: None }
}

/// All of these rows, likewise.
pub async fn all<T, E>(rows: BoxStream<'_, Result<T, E>>) -> Result<Vec<T>, E> {
    in_slices(rows).try_collect().await
}

/// See [`in_slices`].
pub struct Slices<'r, T, E> {
    rows: BoxStream<'r, Result<T, E>>,
    begun: Instant,
    /// Rows since the last look at the clock.
    handed_on: u32,
    /// That of others.
    turn: Option<BoxFuture<'static, ()>>,
}

impl<T, E> Stream for Slices<'_, T, E> {
    type Item = Result<T, E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.handed_on >= ROWS {
            let is_over = self.begun.elapsed() >= SLICE;
            if is_over || self.turn.is_some() {
                ready!(self.turn.get_or_insert_with(|| yield_now().boxed()).as_mut().poll(context));
                self.turn = None;
                self.begun = Instant::now();
            }
            self.handed_on = 0;
        }
        let row = ready!(self.rows.as_mut().poll_next(context));
        self.handed_on += 1;
        Poll::Ready(row)
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn others_have_their_turn_between_rows_that_are_always_there() {
        let (here, there) = UnixStream::pair().unwrap();
        // Hears of what comes only if somebody looks after sockets.
        let reading = tokio::spawn(async move {
            let mut heard = 0;
            while there.readable().await.is_ok() {
                match there.try_read(&mut [0; 1_024]) {
                    Ok(0) => break,
                    Ok(_) => heard += 1,
                    Err(_) => {}
                }
            }
            heard
        });
        let mut rows = in_slices(stream::iter(0..10 * ROWS).map(Ok::<_, ()>).boxed());
        let mut sent = 0;
        while rows.try_next().await.unwrap().is_some() {
            let begun = Instant::now();
            while begun.elapsed() < SLICE {}
            sent += here.try_write(&[0]).unwrap();
        }
        drop(here);
        let heard = reading.await.unwrap();
        assert!(heard > 1, "{heard} reads of {sent} bytes: nobody looked after sockets before the last row");
    }
}
