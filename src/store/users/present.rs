//! Who somebody is now: while a merge is carried out, and for some minutes after, a number may be found that is nobody's any
//! more. On one edition activity knows it until the next roll-up.

use roaring::RoaringBitmap;
use sqlx::PgConnection;

use crate::{model::project::ProjectId, store::StoreError};

/// The users of a project who became others a short time ago.
#[derive(Debug)]
pub struct FormerUsers(Vec<(u32, u32)>);

impl FormerUsers {
    pub async fn of(connection: &mut PgConnection, project_id: ProjectId) -> Result<Self, StoreError> {
        let moves: Vec<(i32, i32)> =
            sqlx::query_as("select from_no, into_no from present_users where project_id = $1")
                .bind(project_id.get())
                .fetch_all(connection)
                .await?;
        Ok(Self(moves.iter().map(|(from, into)| (from.cast_unsigned(), into.cast_unsigned())).collect()))
    }

    /// The same users, each once and by the number of today.
    #[must_use]
    pub fn present(&self, users: &RoaringBitmap) -> RoaringBitmap {
        let mut present = users.clone();
        for &(from, into) in &self.0 {
            if present.remove(from) {
                present.insert(into);
            }
        }
        present
    }

    /// Adds the numbers of today to those of then: events may have one, and activity the other.
    pub fn add_present(&self, users: &mut RoaringBitmap) {
        for &(from, into) in &self.0 {
            if users.contains(from) {
                users.insert(into);
            }
        }
    }
}
