//! What may be wrong with a question that can be answered: an event type that weir does not know is answered with zeros, like
//! one of which nothing happened. Most often it is misspelt.

use std::{cell::RefCell, collections::BTreeSet};

use percent_encoding::{CONTROLS, utf8_percent_encode};
use poem::{
    Response,
    http::{HeaderValue, header},
};
use serde_json::Value;

use crate::{
    model::{did_you_mean::nearest, project::ProjectId},
    projects::event_types::EventTypes,
};

/// Tables have no other place for warnings.
pub(crate) const HEADER: &str = "X-Warning";
/// Warnings of an answer.
pub(crate) const MOST: usize = 20;
/// Parameters that name an event type.
const PARAMETERS: [&str; 4] = ["event_type", "event_name", "start_event", "return_event"];

tokio::task_local! {
    static NOTES: RefCell<QueryNotes>;
}

/// What a request asks about.
#[derive(Default)]
struct QueryNotes {
    project_id: Option<ProjectId>,
    event_types: BTreeSet<String>,
}

/// Notes whose the question is.
pub(crate) fn note_project(project_id: ProjectId) {
    NOTES.try_with(|asked| asked.borrow_mut().project_id = Some(project_id)).ok();
}

/// Notes event types of a question.
pub(crate) fn note_event_types<'a>(event_types: impl IntoIterator<Item = &'a String>) {
    NOTES.try_with(|asked| asked.borrow_mut().event_types.extend(event_types.into_iter().cloned())).ok();
}

/// Notes the value of a parameter or of a field of a body (`steps[0].event_type`), if that names an event type.
pub(crate) fn note_parameter(name: &str, value: &String) {
    let name = name.rsplit('.').next().unwrap_or(name);
    if PARAMETERS.contains(&name) {
        note_event_types([value]);
    }
}

/// Answers a request, and adds warnings to the answer of a question.
pub(crate) async fn with_warnings<E>(
    event_types: &EventTypes,
    answer: impl Future<Output = Result<Response, E>>,
) -> Result<Response, E> {
    let answered = async {
        let answer = answer.await;
        (answer, NOTES.with(RefCell::take))
    };
    let (answer, asked) = NOTES.scope(RefCell::default(), answered).await;
    match (answer, asked.project_id) {
        (Ok(response), Some(project_id))
            if response.status().is_success() && !asked.event_types.is_empty() =>
        {
            let warnings = warnings(event_types, project_id, &asked.event_types).await;
            Ok(if warnings.is_empty() { response } else { add(response, &warnings).await })
        }
        (answer, _) => answer,
    }
}

async fn warnings(known: &EventTypes, project_id: ProjectId, asked: &BTreeSet<String>) -> Vec<String> {
    // Without the database there is no answer either.
    let Ok(Some(all)) = known.all_if_one_is_unknown(project_id, asked).await else { return Vec::new() };
    let unknown = asked.iter().filter(|one| !all.contains(*one)).take(MOST);
    let warning = |one: &String| {
        let hint = nearest(one, all.iter().map(String::as_str))
            .map_or(String::new(), |known| format!(" Did you mean '{known}'?"));
        format!("weir knows no event type '{one}' in this project.{hint}")
    };
    unknown.map(warning).collect()
}

/// Adds warnings to an answer, which is another one then.
async fn add(mut response: Response, warnings: &[String]) -> Response {
    let is_json = response.content_type().is_some_and(|kind| kind.starts_with("application/json"));
    for warning in warnings {
        if let Ok(value) = HeaderValue::from_str(&in_ascii(warning)) {
            response.headers_mut().append(HEADER, value);
        }
    }
    // The tag is that of the answer without warnings, which must not be taken for this one.
    response.headers_mut().remove(header::ETAG);
    if is_json && let Ok(bytes) = response.take_body().into_bytes().await {
        let body = match serde_json::from_slice(&bytes) {
            Ok(Value::Object(mut answer)) => {
                answer.insert("warnings".into(), warnings.into());
                Value::from(answer).to_string().into()
            }
            _ => bytes,
        };
        response.set_body(body);
    }
    response
}

/// Headers have no other letters: the rest as in addresses.
fn in_ascii(text: &str) -> String {
    utf8_percent_encode(text, CONTROLS).to_string()
}
