//! The page's program for browsers, in a browser: on a page of another origin than weir's, as in real life.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use poem::{EndpointExt, Route, endpoint::make_sync, get, post, web::Html};
use tokio::sync::Notify;

use super::{Section, blocks};
use crate::support::{
    Project, Weir,
    browser::Browser,
    eventually,
    front::{Front, Manner, Post, serve},
};

const BROWSER: Section = Section {
    heading: "JavaScript in a browser",
    language: "js",
    file: "weir.js",
    tool: ("chromium", "chromium"),
};

#[tokio::test]
async fn a_page_sends_its_events_and_sends_them_again() {
    let Some(browser) = Browser::find() else { return };
    let weir = Weir::start().await;
    let project = weir.project("page", "UTC").await;
    let front = Front::start(&weir, Manner::Troubled).await;
    let site = Site::start(&front, &project).await;
    let open = browser.open(&site.url("/page"));
    site.wait_until_settled().await;
    let posts = front.posts();
    assert_eq!(posts.iter().map(|post| post.status).collect::<Vec<_>>(), [503, 429, 200]);
    assert!(posts.iter().all(|post| post.events() == posts[0].events()), "the same events: {posts:?}");
    weir.wait_for_events(3).await;
    open.close().await;
    weir.stop().await;
}

#[tokio::test]
async fn a_page_that_is_left_sends_a_beacon_and_asks_on_its_next_visit() {
    let Some(browser) = Browser::find() else { return };
    let weir = Weir::start().await;
    let project = weir.project("page", "UTC").await;
    let front = Front::start(&weir, Manner::Plain).await;
    let site = Site::start(&front, &project).await;
    let open = browser.open(&site.url("/left-at-once"));
    let posts = eventually("a beacon", || async { front.posts() }, |posts| !posts.is_empty()).await;
    assert_eq!(posts.len(), 1, "{posts:?}");
    assert_eq!(posts[0].target, format!("/events?key={}", project.write));
    assert_eq!(posts[0].content_type, "text/plain;charset=UTF-8", "which needs no leave (CORS)");
    assert_eq!(posts[0].status, 202);
    weir.wait_for_events(3).await;

    site.back.notify_one();
    site.wait_until_settled().await;
    let sent: Vec<_> = front.posts()[1..].iter().flat_map(Post::events).collect();
    assert!(posts[0].events().iter().all(|event| sent.contains(event)), "what no answer came for: {sent:?}");
    assert_eq!(sent.len(), 6, "{sent:?}");
    weir.wait_for_events(6).await;
    open.close().await;
    weir.stop().await;
}

/// A site whose pages hold the program.
struct Site {
    address: String,
    /// Weir has answered for all events of the page.
    settled: Arc<AtomicBool>,
    /// Lets the browser come back to the page.
    back: Arc<Notify>,
}

impl Site {
    async fn start(front: &Front, project: &Project) -> Self {
        let program = &blocks(&BROWSER)[0];
        let (address, key) = ("\"http://127.0.0.1:8000\"", "\"weir_wk_dev\"");
        assert!(program.contains(address) && program.contains(key));
        let program = program
            .replace(address, &format!("{:?}", front.url()))
            .replace(key, &format!("{:?}", project.write));
        let page = |more: &str| {
            let html = format!(
                "<!doctype html><title>shop</title><script type=module>{program}</script><script type=module>{more}</script>"
            );
            get(make_sync(move |_| Html(html.clone())))
        };
        let (settled, back) = (Arc::<AtomicBool>::default(), Arc::<Notify>::default());
        let routes = Route::new()
            .at(
                "/page",
                page("setInterval(() => localStorage.length || fetch('/settled', {method: 'POST'}), 50)"),
            )
            .at("/left-at-once", page("location.assign('/elsewhere')"))
            .at(
                "/elsewhere",
                get(make_sync(|_| {
                    Html(
                        "<!doctype html><script>fetch('/back').then(() => location.assign('/page'))</script>",
                    )
                })),
            )
            .at("/back", get(waits(back.clone())))
            .at("/settled", post(notes(settled.clone())));
        Self { address: serve(routes).await, settled, back }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn wait_until_settled(&self) {
        let settled = || async { self.settled.load(Ordering::Relaxed) };
        eventually("weir has answered for the page's events", settled, |settled| *settled).await;
    }
}

fn waits(until: Arc<Notify>) -> impl poem::Endpoint {
    poem::endpoint::make(move |_| {
        let until = until.clone();
        async move { until.notified().await }
    })
    .map_to_response()
}

fn notes(happened: Arc<AtomicBool>) -> impl poem::Endpoint {
    make_sync(move |_| happened.store(true, Ordering::Relaxed))
}
