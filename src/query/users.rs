//! Who are the users behind a number?

use roaring::RoaringBitmap;

use crate::{
    model::project::Project,
    store::{
        StoreError,
        read::snapshot::Reader,
        users::{dictionary, present::FormerUsers},
    },
};

/// Which of the users.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    pub users: &'a RoaringBitmap,
    /// Only those behind this one, the last of the page before.
    pub after: Option<u32>,
    /// Most users of the page.
    pub limit: u32,
}

/// A page of users, in the order in which weir first met them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPage {
    pub user_ids: Vec<String>,
    /// Of all pages.
    pub total: u64,
    /// The last user of the page, if there is another page.
    pub next: Option<u32>,
}

impl Query<'_> {
    pub async fn answer(&self, reader: &Reader, project: &Project) -> Result<UserPage, StoreError> {
        let mut snapshot = reader.snapshot().await?;
        let users = FormerUsers::of(&mut snapshot, project.id).await?.present(self.users);
        let mut rest = users.range(self.after.map_or(0, |after| after.saturating_add(1))..);
        let numbers: Vec<u32> = rest.by_ref().take(self.limit as usize).collect();
        let next = rest.next().and(numbers.last().copied());
        let numbers: Vec<i32> = numbers.into_iter().map(u32::cast_signed).collect();
        let user_ids = dictionary::names(&mut snapshot, project.id, &numbers).await?;
        Ok(UserPage { user_ids, total: users.len(), next })
    }
}
