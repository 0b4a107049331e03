//! Requesters let settlements be paid.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Json;
use bytes::Bytes;
use protocol::api::{Approve, JobStatus};
use protocol::ids::JobId;
use protocol::ledger::Approval;

use super::{Api, Refusal, views};
use crate::core::Event;

/// `POST /v1/jobs/{id}/approvals`.
pub async fn approve(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<JobStatus>, Refusal> {
    let fix = "`fedroll job ls` lists the jobs";
    let job: JobId =
        id.parse().map_err(|_| Refusal::bad("bad-id", format!("'{id}' is not a job's number"), fix))?;
    let fix = "sign what the job's status asks for (`fedroll job approve` does)";
    let bad = |why: String| Refusal::bad("bad-approval", format!("the body is not an approval: {why}"), fix);
    let Approve { settlement, up_to, signature } =
        serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    let sum_max = u64::try_from(up_to.as_units()).map_err(|_| bad(format!("{up_to} tokens are too many")))?;
    let approval = Approval { sum_max, signature };
    let judged = api.core.read(move |core| core.judge_approval(job, settlement, &approval)).await?;
    judged.map_err(|why| Refusal::new(StatusCode::CONFLICT, "bad-approval", why.to_string(), fix))?;
    api.core.tell(Event::Approved { job, settlement, approval }).await?;
    let status =
        api.core.read(move |core| core.jobs().get(&job).map(|job| views::job(core, job, true))).await?;
    status
        .map(Json)
        .ok_or_else(|| Refusal::unknown("unknown-job", format!("there is no job {job} here"), fix))
}
