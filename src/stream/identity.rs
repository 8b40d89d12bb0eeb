//! What distinguishes a stream from another that comes after it under the same name.

use async_nats::jetstream::{context::CreateStreamError, stream};
use chrono::{DateTime, SubsecRound, Utc};

use super::Stream;

/// In the stream's metadata. The server's own time of creation becomes that of the last change of settings when it restarts.
const CREATED: &str = "weir.created";

/// When a stream was created: its messages are numbered from then on.
pub(super) fn created(info: &stream::Info) -> DateTime<Utc> {
    let noted = info.config.metadata.get(CREATED).and_then(|text| text.parse().ok());
    noted.unwrap_or_else(|| info.created.trunc_subsecs(6))
}

impl Stream {
    /// Creates a stream, or brings it to these settings; it stays the one that it was.
    pub(super) async fn create_or_update(&self, settings: &stream::Config) -> Result<(), CreateStreamError> {
        let of = |created: DateTime<Utc>| {
            let mut settings = settings.clone();
            settings.metadata.insert(CREATED.into(), created.to_rfc3339());
            settings
        };
        let created = match self.context.get_stream(&settings.name).await {
            Ok(stream) => created(stream.cached_info()),
            Err(_) => match self.context.create_stream(of(Utc::now().trunc_subsecs(6))).await {
                Ok(_) => return Ok(()),
                // Another instance may have been faster.
                Err(error) => match self.context.get_stream(&settings.name).await {
                    Ok(stream) => created(stream.cached_info()),
                    Err(_) => return Err(error),
                },
            },
        };
        self.context.update_stream(of(created)).await?;
        Ok(())
    }
}
