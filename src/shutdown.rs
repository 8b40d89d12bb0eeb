//! Ending in order: SIGTERM and Ctrl-C.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled when the process is asked to end. Ctrl-C after that ends it at once; SIGTERM does not,
/// because a supervisor may send it after the terminal's Ctrl-C, meaning the same.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let ending = CancellationToken::new();
    let token = ending.clone();
    tokio::spawn(async move {
        loop {
            let by_hand = tokio::select! {
                _ = terminate.recv() => false,
                _ = interrupt.recv() => true,
            };
            if !token.is_cancelled() {
                tracing::info!("ending: finishing what was begun");
                token.cancel();
            } else if by_hand {
                tracing::warn!("asked to end again: ending at once");
                std::process::exit(1);
            }
        }
    });
    Ok(ending)
}
