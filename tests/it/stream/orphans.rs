//! A message that the stream has kept though its consumer is past it is stored all the same.

use async_nats::jetstream::{self, consumer::pull};
use futures::StreamExt;
use serde_json::json;

use crate::support::{Weir, server};

#[tokio::test]
async fn what_the_stream_has_kept_behind_its_consumer_is_stored_once() {
    let mut weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    weir.worker.kill().await;
    // After a loss of power a consumer may remember an ack that the stream does not. Here the consumer looks away while the
    // message comes, and is past it when it looks again.
    let jetstream = jetstream::new(async_nats::connect(server("NATS_URL")).await.unwrap());
    let stream = jetstream.get_stream(format!("{}-events", weir.namespace())).await.unwrap();
    let mut writer: jetstream::consumer::Consumer<pull::Config> =
        stream.get_consumer("writer-1").await.unwrap();
    let settings = writer.info().await.unwrap().config.clone();
    let mut elsewhere: pull::Config = pull::Config {
        durable_name: Some("writer-1".into()),
        filter_subject: format!("{}.events.9.*", weir.namespace()),
        ack_policy: settings.ack_policy,
        ack_wait: settings.ack_wait,
        max_ack_pending: settings.max_ack_pending,
        description: settings.description.clone(),
        ..Default::default()
    };
    let looking_away = stream.create_consumer(elsewhere.clone()).await.unwrap();
    for batch in
        [json!([{"event_id": "a", "event_type": "e"}]), json!([{"event_id": "b", "event_type": "e"}])]
    {
        assert_eq!(weir.send(&project, &batch).await.0, 202);
    }
    jetstream.publish(format!("{}.events.9.1", weir.namespace()), "".into()).await.unwrap().await.unwrap();
    let mut messages = looking_away.fetch().max_messages(1).messages().await.unwrap();
    messages.next().await.unwrap().unwrap().double_ack().await.unwrap();
    elsewhere.filter_subject = settings.filter_subject;
    stream.create_consumer(elsewhere).await.unwrap();

    weir.start_worker().await;
    weir.wait_for_events(2).await;
    weir.wait_until_drained().await;
    assert!((weir.metric(&weir.worker, "stream_orphans_total").await - 2.0).abs() < 0.5);
    weir.wait_for_events(2).await;
    weir.stop().await;
}
