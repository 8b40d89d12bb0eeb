//! Amplitude's SDKs.

use super::programs::*;
use crate::support::front::Manner;

const PYTHON: Client = Client { runtime: Runtime::Python, file: "amplitude.py", https: false };
const NODE: Client = Client { runtime: Runtime::Node, file: "amplitude.js", https: false };

/// What the programs send.
fn expected() -> Vec<Stored> {
    [&orders_and_views()[..], &[of_user("revenue_amount", None, 0)]].concat()
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
    let own = [of_user("[Amplitude] Page Viewed", None, 0)];
    let expected = [&expected()[..4], &own, &expected()[4..], &[of_user("session_start", None, 0)]].concat();
    page_arrives_once("amplitude.html", Manner::Troubled, &expected).await;
}
