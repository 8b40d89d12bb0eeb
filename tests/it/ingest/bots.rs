//! Pages that bots open.

use serde_json::json;

use crate::support::Weir;

const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36";
const MARKED: &str = "select count(*) from events where properties ? '$bot'";

#[tokio::test]
async fn events_of_bots_are_marked_or_dropped_and_counted() {
    let mut weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let send = async |weir: &Weir, user_agent: &str, origin: Option<&str>| {
        let request = weir.post(&project, &json!({"event_type": "e"})).header("User-Agent", user_agent);
        let request = match origin {
            Some(origin) => request.header("Origin", origin),
            None => request,
        };
        request.send().await.unwrap().status().as_u16()
    };
    let page = Some("https://shop.example");
    assert_eq!(send(&weir, GOOGLEBOT, page).await, 202);
    assert_eq!(send(&weir, CHROME, page).await, 202);
    assert_eq!(send(&weir, GOOGLEBOT, None).await, 202, "a program, which may call itself what it likes");
    weir.wait_for_events(3).await;
    assert_eq!(weir.number(MARKED).await, 1);

    weir.set("WEIR_BOTS", "drop");
    weir.start_api().await;
    assert_eq!(send(&weir, GOOGLEBOT, page).await, 400);
    assert_eq!(send(&weir, CHROME, page).await, 202);
    weir.wait_for_events(4).await;
    assert!(weir.metric(&weir.api, "events_rejected_total").await > 0.5);
    weir.stop().await;
}
