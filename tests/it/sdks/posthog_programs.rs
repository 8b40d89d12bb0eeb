//! PostHog's SDKs.

use super::programs::*;
use crate::support::front::Manner;

const PYTHON: Client = Client { runtime: Runtime::Python, file: "posthog.py", https: false };
const NODE: Client = Client { runtime: Runtime::Node, file: "posthog.js", https: false };

/// What the programs and the page send.
fn expected() -> Vec<Stored> {
    let others = ["$create_alias", "$groupidentify", "$identify", "$pageview", "$screen", "$set"];
    [&others.map(|event_type| of_user(event_type, None, 0))[..], &orders_and_views()].concat()
}

#[tokio::test]
async fn python() {
    PYTHON.arrives_once(&expected()).await;
}

#[tokio::test]
async fn node() {
    NODE.arrives_once(&expected()).await;
}

/// posthog-js gives up what is refused with 429, or any other 4xx, and does so without a word. weir answers it with 503.
#[tokio::test]
async fn browser() {
    page_arrives_once("posthog.html", Manner::Losing, &expected()).await;
}
