//! The inbox for what the stream answers to messages.
//!
//! async-nats keeps what waits for an answer until the answer comes, also when nobody waits any more: through a long outage
//! its memory grows with every message. Here an entry goes with whoever waits for it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_nats::{Client, HeaderMap, Message, SubscribeError, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use tokio::{
    sync::{OnceCell, oneshot},
    task::JoinHandle,
};

/// Publishes with an address for the answer.
pub(super) struct Inbox {
    client: Client,
    /// Answers come to `{prefix}.{number}`.
    prefix: String,
    next: AtomicU64,
    waiting: Arc<Waiters>,
    reader: OnceCell<Dispatcher>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoReply {
    #[error("the client cannot subscribe")]
    Subscribe(#[from] SubscribeError),
    #[error("the client cannot publish")]
    Publish(#[from] async_nats::PublishError),
    #[error("the client has ended")]
    Ended(#[from] oneshot::error::RecvError),
}

#[derive(Default)]
struct Waiters(Mutex<HashMap<u64, oneshot::Sender<Message>>>);

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Message>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes itself out when it is not waited for any more.
struct Waiter<'w> {
    number: u64,
    waiting: &'w Waiters,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.number);
    }
}

/// The task that hands answers out, for as long as somebody publishes.
struct Dispatcher(JoinHandle<()>);

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Inbox {
    pub(super) fn new(client: Client) -> Self {
        let prefix = client.new_inbox();
        Self { client, prefix, next: AtomicU64::default(), waiting: Arc::default(), reader: OnceCell::new() }
    }

    /// Bytes of a message that the server takes.
    pub(super) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Publishes, and waits for the answer for as long as the caller does.
    pub(super) async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Message, NoReply> {
        self.reader.get_or_try_init(|| self.subscribe()).await?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().insert(number, sender);
        let _waiter = Waiter { number, waiting: &self.waiting };
        let reply = format!("{}.{number}", self.prefix);
        self.client.publish_with_reply_and_headers(subject, reply, headers, payload).await?;
        Ok(answer.await?)
    }

    async fn subscribe(&self) -> Result<Dispatcher, SubscribeError> {
        let answers = self.client.subscribe(format!("{}.*", self.prefix)).await?;
        Ok(Dispatcher(tokio::spawn(hand_out(answers, self.waiting.clone()))))
    }
}

async fn hand_out(mut answers: Subscriber, waiting: Arc<Waiters>) {
    while let Some(answer) = answers.next().await {
        let number = answer.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        let sender = number.and_then(|number: u64| waiting.lock().remove(&number));
        if let Some(sender) = sender {
            sender.send(answer).ok(); // nobody waits any more: the same as if it had come later
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::TcpListener,
    };

    use super::*;

    /// A server that greets, and answers nothing that is published.
    async fn silent_server() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (reader, mut writer) = socket.split();
                    let info = r#"INFO {"server_id":"s","version":"2.10.27","proto":1,"max_payload":1048576,"headers":true}"#;
                    writer.write_all(format!("{info}\r\n").as_bytes()).await.ok();
                    let mut lines = BufReader::new(reader).lines();
                    while let Ok(Some(line)) = lines.next_line().await {
                        if line == "PING" {
                            writer.write_all(b"PONG\r\n").await.ok();
                        }
                    }
                });
            }
        });
        format!("nats://{address}")
    }

    #[tokio::test]
    async fn what_is_never_answered_leaves_nothing_behind() {
        let client = async_nats::connect(silent_server().await).await.expect("a connection");
        let replies = Inbox::new(client);
        let publish =
            || replies.publish("a.subject".into(), HeaderMap::new(), Bytes::from_static(b"payload"));
        let (mut one, mut two) = (Box::pin(publish()), Box::pin(publish()));
        assert!((&mut one).now_or_never().is_none() && (&mut two).now_or_never().is_none(), "they wait");
        assert_eq!(replies.waiting.lock().len(), 2);
        drop(one);
        assert_eq!(replies.waiting.lock().len(), 1);
        drop(two);
        assert_eq!(replies.waiting.lock().len(), 0);
    }
}
