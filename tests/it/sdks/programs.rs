//! Programs and pages with SDKs as they come from their registries: `clients` has them, each with every kind of call that
//! its SDK has.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{Arc, Mutex},
};

use poem::{EndpointExt, IntoResponse, Request, Route, endpoint::make, get, post, web::Html};
use tokio::process::Command;

use crate::support::{
    Project, Weir,
    browser::Browser,
    eventually,
    front::{Front, Manner, serve},
    missing_tool,
    tls::Tls,
};

/// What runs a program.
#[derive(Clone, Copy)]
pub(super) enum Runtime {
    Python,
    Node,
}

/// A program with an SDK: a file of `clients`.
#[derive(Clone, Copy)]
pub(super) struct Client {
    pub(super) runtime: Runtime,
    pub(super) file: &'static str,
    /// Its SDK knows nothing but HTTPS.
    pub(super) https: bool,
}

/// Where the packages of npm are, which `scripts/test` installs.
pub(super) fn node_modules() -> Option<PathBuf> {
    let found = std::env::var_os("SDKS_NODE").map(PathBuf::from);
    if found.is_none() {
        missing_tool("the SDKs for Node and browsers", "./scripts/test installs them where npm is");
    }
    found
}

pub(super) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sdks/clients").join(name)
}

impl Client {
    fn command(self) -> Option<Command> {
        match self.runtime {
            Runtime::Node => {
                let mut command = Command::new("node");
                command.env("NODE_PATH", node_modules()?);
                Some(command)
            }
            Runtime::Python => {
                let Some(program) = std::env::var_os("SDKS_PYTHON") else {
                    missing_tool(
                        "the SDKs for Python",
                        "./scripts/test installs them where there is python3",
                    );
                    return None;
                };
                Some(Command::new(program))
            }
        }
    }

    /// Runs the program to its end. It fails if its SDK reports an error.
    async fn run(self, front: &Front, key: &str) -> Option<()> {
        let mut command = self.command()?;
        let tls = if self.https { Some(Tls::before(front).await?) } else { None };
        let address = match &tls {
            Some(tls) => {
                command.env("REQUESTS_CA_BUNDLE", tls.certificate());
                tls.url()
            }
            None => front.url(),
        };
        command
            .env("PYTHONSAFEPATH", "1")
            .arg(file(self.file))
            .args([&*address, key])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let Output { status, stdout, stderr } = command.output().await.unwrap();
        let said = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(status.success(), "{}: {said:?}; {:?}", self.file, front.posts());
        Some(())
    }

    /// Runs the program against weir, through lost and refused answers, and while weir is killed and comes back.
    pub(super) async fn arrives_once(self, expected: &[Stored]) {
        let mut weir = Weir::start().await;
        let plain = weir.project("plain", "UTC").await;
        let front = Front::start(&weir, Manner::Plain).await;
        let Some(()) = self.run(&front, &plain.write).await else { return weir.stop().await };
        wait_until_stored(&weir, &plain, expected).await;
        assert!(front.posts().iter().all(|post| post.status == 200), "{:?}", front.posts());
        assert!(duplicates(&weir).await < 0.5, "nothing is sent twice");

        // The first answer is lost after weir has taken the events, the second try is refused.
        let troubled = weir.project("troubled", "UTC").await;
        let front = Front::start(&weir, Manner::Troubled).await;
        self.run(&front, &troubled.write).await;
        wait_until_stored(&weir, &troubled, expected).await;
        assert!(front.posts().len() >= 3, "{:?}", front.posts());
        assert!(duplicates(&weir).await > 0.5, "what was lost comes again");

        // It dies, and comes back while the SDK still holds everything.
        let killed = weir.project("killed", "UTC").await;
        let front = Front::start(&weir, Manner::Plain).await;
        weir.api.kill().await;
        let running = self.run(&front, &killed.write);
        let refused = || async { front.posts().iter().any(|post| post.status == 502) };
        let restarting = async {
            eventually("a try that fails", refused, |refused| *refused).await;
            weir.start_api().await;
            front.lead_to(&weir);
        };
        tokio::join!(running, restarting);
        wait_until_stored(&weir, &killed, expected).await;
        weir.stop().await;
    }
}

async fn duplicates(weir: &Weir) -> f64 {
    weir.metric(&weir.api, "events_duplicate_total").await
}

/// A site with a page that has an SDK.
pub(super) struct Page {
    address: String,
    errors: Arc<Mutex<Vec<String>>>,
    done: Arc<Mutex<bool>>,
}

impl Page {
    /// A page of `clients`, for this address and key.
    pub(super) async fn serve(name: &str, front: &Front, key: &str) -> Option<Self> {
        let modules = node_modules()?;
        let url = front.url();
        let host = url.trim_start_matches("http://");
        let html = std::fs::read_to_string(file(name)).unwrap();
        let html = html.replace("ADDRESS", &url).replace("HOST", host).replace("KEY", key);
        Some(Self::with(html, modules).await)
    }

    /// A page, and scripts from this folder.
    pub(super) async fn with(html: String, modules: PathBuf) -> Self {
        let (errors, done) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<bool>>::default());
        let (noted, ended) = (errors.clone(), done.clone());
        let routes = Route::new()
            .at("/page", get(make(move |_| std::future::ready(Html(html.clone())))))
            .at(
                "/error",
                post(make(move |mut request: Request| {
                    let noted = noted.clone();
                    async move {
                        let error = request.take_body().into_string().await.unwrap();
                        noted.lock().unwrap().push(error);
                    }
                })),
            )
            .at(
                "/done",
                post(make(move |_| {
                    *ended.lock().unwrap() = true;
                    std::future::ready(())
                })),
            )
            .at(
                "/modules/*file",
                get(make(move |request: Request| {
                    let file = request.uri().path().trim_start_matches("/modules/");
                    let script = std::fs::read_to_string(modules.join(file)).unwrap();
                    std::future::ready(script.with_content_type("text/javascript"))
                })),
            );
        Self { address: serve(routes.map_to_response()).await, errors, done }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/page", self.address)
    }

    pub(super) async fn wait_until_done(&self) {
        let done = || async { *self.done.lock().unwrap() };
        eventually("the page has sent everything", done, |done| *done).await;
    }

    pub(super) fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap().clone()
    }
}

/// Opens a page of `clients`, and again with trouble: its SDK sends what was lost once more.
pub(super) async fn page_arrives_once(name: &str, trouble: Manner, expected: &[Stored]) {
    let Some(browser) = Browser::find() else { return };
    let weir = Weir::start().await;
    for manner in [Manner::Plain, trouble] {
        let project = weir.project(if manner == Manner::Plain { "plain" } else { "troubled" }, "UTC").await;
        let front = Front::start(&weir, manner).await;
        let Some(page) = Page::serve(name, &front, &project.write).await else { break };
        let open = browser.open(&page.url());
        page.wait_until_done().await;
        if manner == Manner::Plain {
            wait_until_stored(&weir, &project, expected).await;
            assert!(duplicates(&weir).await < 0.5, "nothing is sent twice");
        } else {
            eventually("what was lost comes again", || duplicates(&weir), |found| *found > 0.5).await;
            wait_until_stored(&weir, &project, expected).await;
        }
        assert_eq!(page.errors(), [""; 0]);
        open.close().await;
    }
    weir.stop().await;
}

/// An event that is stored: type, user, quantity, days ago.
pub(super) type Stored = (String, Option<String>, Option<i32>, i32);

/// One of `user-42`.
pub(super) fn of_user(event_type: &str, quantity: Option<i32>, days: i32) -> Stored {
    (event_type.to_owned(), Some("user-42".to_owned()), quantity, days)
}

/// What every program sends: of a visitor, and of the user that the visitor turns out to be.
pub(super) fn orders_and_views() -> [Stored; 4] {
    [
        of_user("Order Completed", Some(3), 0),
        of_user("Order Completed", Some(4), 2),
        of_user("Product Viewed", Some(1), 0),
        of_user("Product Viewed", Some(2), 0),
    ]
}

/// What is stored of a project, in the order of types and quantities.
pub(super) async fn stored(weir: &Weir, project: &Project) -> Vec<Stored> {
    sqlx::query_as(
        "select event_type, user_id, (properties ->> 'quantity')::int,
                extract(days from now() - occurred_at)::int
         from events join projects using (project_id) left join users using (project_id, user_no)
         where name = $1 order by 1, 3",
    )
    .bind(&project.name)
    .fetch_all(&weir.pool)
    .await
    .unwrap()
}

/// Waits until all of these are stored, and nothing else is.
pub(super) async fn wait_until_stored(weir: &Weir, project: &Project, expected: &[Stored]) {
    let all = eventually("all is stored", || stored(weir, project), |all| all.as_slice() == expected);
    assert_eq!(all.await, expected);
}
