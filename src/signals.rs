//! The signals that ask a process to end: SIGTERM, Ctrl-C, and a terminal that goes (SIGHUP). Requests under way end in
//! [`crate::http::server`].

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled when the process is asked to end. Ctrl-C after that ends it at once; SIGTERM does not,
/// because a supervisor may send it after the terminal's Ctrl-C, meaning the same.
pub fn ending() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    // Some supervisors send these to all that they run; what nobody waits for would kill.
    let ignored = [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?];
    let ending = CancellationToken::new();
    let token = ending.clone();
    tokio::spawn(async move {
        let _ignored = ignored;
        loop {
            let by_hand = tokio::select! {
                _ = terminate.recv() => false,
                _ = hangup.recv() => false,
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
