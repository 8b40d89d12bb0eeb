//! The users behind a number, in pages.

use poem_openapi::{Object, registry::MetaSchema};
use roaring::RoaringBitmap;

use crate::http::respond::table::Tabular;
use crate::{
    http::{
        extract::parameters::{Checks, Param, ParameterValue, UpTo},
        respond::problem::Problem,
    },
    model::project::Project,
    query,
    store::read::snapshot::Reader,
};

const DEFAULT_LIMIT: u32 = 100;
pub(crate) const MAX_LIMIT: u32 = 1_000;
/// Digits of a user's number.
const MAX_CURSOR: usize = 10;

#[derive(Object)]
pub(crate) struct UserList {
    /// In the order in which weir first met them.
    #[oai(validator(max_items = 1000))]
    users: Vec<ListedUser>,
    /// Of all pages: the number that is being looked behind.
    total: u64,
    /// Send as `cursor` for the next page; null: there is none.
    next: Option<String>,
}

#[derive(Object)]
struct ListedUser {
    user_id: String,
}

/// Which page is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageRequest {
    /// Users with higher numbers.
    after: Option<u32>,
    limit: u32,
}

/// The number of the last user of the page before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor(u32);

impl ParameterValue for Cursor {
    const INVALID: &'static str = "invalid_cursor";

    fn expected() -> String {
        "the `next` of the page before".into()
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() <= MAX_CURSOR { text.parse().ok().map(Self) } else { None }
    }

    fn schema() -> MetaSchema {
        MetaSchema { max_length: Some(MAX_CURSOR), ..MetaSchema::new("string") }
    }
}

impl PageRequest {
    pub(crate) fn of(checks: &mut Checks, cursor: Param<Cursor>, limit: Param<UpTo<MAX_LIMIT>>) -> Self {
        let after = checks.optional("cursor", cursor).map(|cursor| cursor.0);
        let limit = checks.optional("limit", limit).map_or(DEFAULT_LIMIT, |limit| limit.0);
        Self { after, limit }
    }

    /// From a question with a body.
    pub(crate) fn of_body(checks: &mut Checks, cursor: Option<&str>, limit: Option<u32>) -> Self {
        let after = cursor.and_then(|text| {
            let cursor = Cursor::parse(text);
            if cursor.is_none() {
                checks.refuse("cursor", Cursor::INVALID, format!("expected {}", Cursor::expected()));
            }
            cursor.map(|cursor| cursor.0)
        });
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            checks.refuse("limit", "out_of_range", format!("expected a number from 1 to {MAX_LIMIT}"));
        }
        Self { after, limit }
    }

    /// This page of the users.
    pub(crate) async fn list(
        self,
        reader: &Reader,
        project: &Project,
        users: &RoaringBitmap,
    ) -> Result<UserList, Problem> {
        let query = query::users::Query { users, after: self.after, limit: self.limit };
        let page = query.answer(reader, project).await?;
        Ok(UserList {
            users: page.user_ids.into_iter().map(|user_id| ListedUser { user_id }).collect(),
            total: page.total,
            next: page.next.map(|next| next.to_string()),
        })
    }
}

impl Tabular for UserList {
    fn header(&self) -> Vec<String> {
        vec!["user_id".into()]
    }

    fn rows(&self) -> Vec<Vec<String>> {
        self.users.iter().map(|user| vec![user.user_id.clone()]).collect()
    }

    fn page(&self) -> Option<(u64, Option<&str>)> {
        Some((self.total, self.next.as_deref()))
    }
}
