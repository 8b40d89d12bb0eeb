//! What every operation that sends has in common.

use bytes::Bytes;

use super::{
    auth::{Caller, Write},
    body::{BodyLimits, EventsBody, ReadBody},
    parameters::{Checks, Param},
};
use crate::http::respond::problem::Problem;
use crate::{
    ingest::{
        Ingest, Request, idempotency,
        receipt::Receipt,
        wire::{Asked, Call},
    },
    limits::admission::{Admission, LARGE},
    model::{project::Project, request_id::RequestId},
};

/// Receives bodies with events.
#[derive(Clone)]
pub struct Receiver {
    pub ingest: Ingest,
    pub admission: Admission,
    pub limits: BodyLimits,
}

impl Receiver {
    /// Reads a body and takes its events.
    ///
    /// Every answer says what the project may still send, so a body that cannot be read costs as much as one event, and
    /// a flood of them is bounded like any other.
    pub async fn receive<C: Call>(
        &self,
        caller: &Caller<Write>,
        request_id: &RequestId,
        idempotency_key: Param<String>,
        body: EventsBody<'_, C>,
    ) -> Result<Receipt, Problem> {
        let project = &caller.project;
        // Boxed, because each of poem's layers would move it.
        let received: Result<Receipt, Problem> = Box::pin(async {
            let mut checks = Checks::default();
            let idempotency_key = checks.optional("Idempotency-Key", idempotency_key);
            checks.finish(Some(()))?;
            let key = idempotency_key.as_deref().map(idempotency::key);
            let is_from_bot = body.is_from_bot();
            let ReadBody { bytes, format, memory: _memory } =
                body.read(self.limits, &self.admission, project.id).await?;
            let request = Request {
                project,
                request_id: request_id.as_str(),
                idempotency_key: key.as_deref(),
                format,
                is_from_bot,
                call: Asked::default(),
            };
            self.take(&request, bytes).await
        })
        .await;
        self.charged(project, received).await
    }

    /// Takes the events of a body that was read, in its turn.
    pub async fn take(&self, request: &Request<'_>, bytes: Bytes) -> Result<Receipt, Problem> {
        let project_id = request.project.id;
        let _large = match bytes.len() {
            0..LARGE => None,
            _ => Some(self.admission.large(project_id).await?),
        };
        let _permit = self.admission.permit(project_id).await?;
        Ok(self.ingest.take(request, bytes).await?)
    }

    /// What was received; what could not be read is charged as one event.
    pub async fn charged(
        &self,
        project: &Project,
        received: Result<Receipt, Problem>,
    ) -> Result<Receipt, Problem> {
        match received {
            Err(mut problem) if problem.allowance.is_none() => {
                problem.allowance = Some(self.ingest.charge(project).await?);
                Err(problem)
            }
            received => received,
        }
    }
}
