//! Segment's SDKs.

use super::programs::*;
use crate::support::front::Manner;

const PYTHON: Client = Client { runtime: Runtime::Python, file: "segment.py", https: false };
const NODE: Client = Client { runtime: Runtime::Node, file: "segment.js", https: false };

/// What the programs send.
fn expected() -> Vec<Stored> {
    let others =
        ["alias", "group", "identify", "page", "screen"].map(|event_type| of_user(event_type, None, 0));
    [&orders_and_views()[..], &others].concat()
}

#[tokio::test]
async fn python() {
    PYTHON.arrives_once(&expected()).await;
}

#[tokio::test]
async fn node() {
    NODE.arrives_once(&expected()).await;
}

#[tokio::test]
async fn browser() {
    page_arrives_once("segment.html", Manner::Troubled, &expected()).await;
}
