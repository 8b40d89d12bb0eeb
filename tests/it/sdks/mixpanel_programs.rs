//! Mixpanel's SDKs.

use super::programs::*;
use crate::support::front::Manner;

const PYTHON: Client = Client { runtime: Runtime::Python, file: "mixpanel.py", https: true };
/// mixpanel-node sends nothing again: its program does.
const NODE: Client = Client { runtime: Runtime::Node, file: "mixpanel.js", https: false };

#[tokio::test]
async fn python() {
    PYTHON.arrives_once(&orders_and_views()).await;
}

#[tokio::test]
async fn node() {
    NODE.arrives_once(&orders_and_views()).await;
}

#[tokio::test]
async fn browser() {
    let page_view = of_user("$mp_web_page_view", None, 0);
    let expected = [&[page_view][..], &orders_and_views()].concat();
    page_arrives_once("mixpanel.html", Manner::Troubled, &expected).await;
}
