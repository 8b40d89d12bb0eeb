//! weir's own script, on a page of another origin.

use std::path::PathBuf;

use super::programs::*;
use crate::support::{
    Weir,
    browser::Browser,
    eventually,
    front::{Front, Manner},
};

type Row = (String, Option<String>, Option<String>);

const PAGE: &str = r#"<!doctype html>
<title>Shop</title>
<script>
  (window.weir ??= []).push(["track", "early", { quantity: 1 }]);
</script>
<script async src="SCRIPT" data-key="KEY"></script>
<script type="module">
  while (!weir.track) await new Promise((resume) => setTimeout(resume, 10));
  history.pushState({}, "", "/second?utm_source=mail");
  weir.track("before", { quantity: 2 });
  weir.identify("user-42", { plan: "pro" });
  weir.track("after");
  const settled = () => Object.keys(localStorage).every((name) => !name.startsWith("weir:"));
  if (document.cookie) fetch("/error", { method: "POST", body: document.cookie });
  const timer = setInterval(() => {
    if (!settled()) return;
    clearInterval(timer);
    fetch("/done", { method: "POST" });
  }, 50);
</script>
"#;

async fn rows(weir: &Weir) -> Vec<Row> {
    sqlx::query_as(
        "select event_type, user_id, properties ->> 'path'
         from events left join users using (project_id, user_no) order by 1, 3",
    )
    .fetch_all(&weir.pool)
    .await
    .unwrap()
}

fn expected() -> Vec<Row> {
    let row = |event_type: &str, path: Option<&str>| {
        (event_type.to_owned(), Some("user-42".to_owned()), path.map(str::to_owned))
    };
    vec![
        row("after", None),
        row("before", None),
        row("early", None),
        row("identify", None),
        row("page_view", Some("/page")),
        row("page_view", Some("/second")),
    ]
}

#[tokio::test]
async fn page_views_and_calls_arrive_once_under_one_user() {
    let Some(browser) = Browser::find() else { return };
    let weir = Weir::start_with(&[("WEIR_SCRIPT_PATH", "/s.js")]).await;
    let project = weir.project("page", "UTC").await;
    let front = Front::start(&weir, Manner::Troubled).await;
    let html = page(&front, "/s.js", &project.write);
    let page = Page::with(html, PathBuf::new()).await;
    let open = browser.open(&page.url());
    page.wait_until_done().await;
    eventually("all is stored", || rows(&weir), |rows| *rows == expected()).await;
    assert_eq!(page.errors(), [""; 0]);
    let statuses: Vec<u16> = front.posts().iter().map(|post| post.status).collect();
    assert!(statuses.starts_with(&[503, 429]) && statuses.len() >= 3, "{statuses:?}");
    open.close().await;
    weir.stop().await;
}

/// What goes wrong on pages: a log-out in another tab, an empty id, an event that is too large, a broken entry.
const CARELESS: &str = r#"<!doctype html>
<script>
  localStorage["weir:broken"] = "{";
  window.weir = [["nonsense"], ["track", "queued"]];
</script>
<script async src="SCRIPT" data-key="KEY" data-views="off"></script>
<script type="module">
  while (!weir.track) await new Promise((resume) => setTimeout(resume, 10));
  weir.identify("");
  weir.identify(null);
  weir.track("large", { text: "a".repeat(70000) });
  weir.identify("user-42");
  localStorage.weir_user = "";
  localStorage.weir_visitor = "visitor-2";
  weir.track("after");
  const timer = setInterval(() => {
    if (Object.keys(localStorage).some((name) => name.startsWith("weir:"))) return;
    clearInterval(timer);
    fetch("/done", { method: "POST" });
  }, 50);
</script>
"#;

#[tokio::test]
async fn what_goes_wrong_on_a_page_costs_no_other_event_and_mixes_nobody_up() {
    let Some(browser) = Browser::find() else { return };
    let weir = Weir::start().await;
    let project = weir.project("page", "UTC").await;
    let front = Front::start(&weir, Manner::Plain).await;
    let html = CARELESS.replace("SCRIPT", &format!("{}/weir.js", front.url())).replace("KEY", &project.write);
    let page = Page::with(html, PathBuf::new()).await;
    let open = browser.open(&page.url());
    page.wait_until_done().await;
    let row = |event_type: &str, user: &str| (event_type.to_owned(), Some(user.to_owned()), None);
    let expected = [row("after", "visitor-2"), row("identify", "user-42"), row("queued", "user-42")];
    eventually("all is stored", || rows(&weir), |rows| *rows == expected).await;
    assert_eq!(page.errors(), [""; 0]);
    open.close().await;
    weir.stop().await;
}

#[tokio::test]
async fn who_asks_not_to_be_tracked_is_not() {
    let Some(browser) = Browser::find() else { return };
    let weir = Weir::start().await;
    let project = weir.project("page", "UTC").await;
    let front = Front::start(&weir, Manner::Plain).await;
    let html = page(&front, "/weir.js", &project.write);
    let asks = "<script>Object.defineProperty(navigator, 'doNotTrack', { value: '1' })</script>";
    let page = Page::with(html.replace("<title>", &format!("{asks}<title>")), PathBuf::new()).await;
    let open = browser.open(&page.url());
    page.wait_until_done().await;
    assert_eq!((front.posts().len(), page.errors()), (0, vec![]));
    open.close().await;
    weir.stop().await;
}

fn page(front: &Front, path: &str, key: &str) -> String {
    PAGE.replace("SCRIPT", &format!("{}{path}", front.url())).replace("KEY", key)
}
