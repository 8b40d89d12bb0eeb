//! Segment's SDKs.

use super::programs::*;
use crate::support::{
    Weir,
    browser::Browser,
    eventually,
    front::{Front, Manner},
};

const PYTHON: Client = Client { runtime: Runtime::Python, file: "segment.py" };
const NODE: Client = Client { runtime: Runtime::Node, file: "segment.js" };

/// What the programs send.
fn expected() -> Vec<Stored> {
    let event = |event_type: &str, quantity, days| {
        (event_type.to_owned(), Some("user-42".to_owned()), quantity, days)
    };
    vec![
        event("Order Completed", Some(3), 0),
        event("Order Completed", Some(4), 2),
        event("Product Viewed", Some(1), 0),
        event("Product Viewed", Some(2), 0),
        event("alias", None, 0),
        event("group", None, 0),
        event("identify", None, 0),
        event("page", None, 0),
        event("screen", None, 0),
    ]
}

#[tokio::test]
async fn python() {
    arrives_once(PYTHON).await;
}

#[tokio::test]
async fn node() {
    arrives_once(NODE).await;
}

async fn arrives_once(client: Client) {
    let mut weir = Weir::start().await;
    let plain = weir.project("plain", "UTC").await;
    let front = Front::start(&weir, Manner::Plain).await;
    let Some(()) = client.run(&front.url(), &plain.write).await else { return weir.stop().await };
    wait_until_stored(&weir, &plain, &expected()).await;
    assert!(front.posts().iter().all(|post| post.status == 200), "{:?}", front.posts());
    assert!(weir.metric(&weir.api, "events_duplicate_total").await < 0.5, "nothing is sent twice");

    // The first answer is lost after weir has taken the events, the second try is refused.
    let troubled = weir.project("troubled", "UTC").await;
    let front = Front::start(&weir, Manner::Troubled).await;
    client.run(&front.url(), &troubled.write).await;
    wait_until_stored(&weir, &troubled, &expected()).await;
    assert!(front.posts().len() >= 3, "{:?}", front.posts());

    // It dies, and comes back while the SDK still holds everything.
    let killed = weir.project("killed", "UTC").await;
    let front = Front::start(&weir, Manner::Plain).await;
    weir.api.kill().await;
    let address = front.url();
    let running = client.run(&address, &killed.write);
    let refused = || async { front.posts().iter().any(|post| post.status == 502) };
    let restarting = async {
        eventually("a try that fails", refused, |refused| *refused).await;
        weir.start_api().await;
        front.lead_to(&weir);
    };
    tokio::join!(running, restarting);
    wait_until_stored(&weir, &killed, &expected()).await;
    weir.stop().await;
}

#[tokio::test]
async fn browser() {
    let Some(browser) = Browser::find() else { return };
    let weir = Weir::start().await;
    for manner in [Manner::Plain, Manner::Troubled] {
        let project = weir.project(if manner == Manner::Plain { "plain" } else { "troubled" }, "UTC").await;
        let front = Front::start(&weir, manner).await;
        let Some(page) = Page::serve("segment.html", &front, &project.write).await else { break };
        let open = browser.open(&page.url());
        page.wait_until_done().await;
        wait_until_stored(&weir, &project, &expected()).await;
        assert_eq!(page.errors(), [""; 0]);
        open.close().await;
    }
    weir.stop().await;
}
