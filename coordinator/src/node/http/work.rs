//! What it takes to run accepted tasks again.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Json;
use protocol::api::{AcceptedTask, RoundWork, SCHEMA, SettlementWork};
use protocol::ids::{JobId, TaskId};
use protocol::job::TaskWork;
use protocol::wire::codec;

use super::views::hex;
use super::{Api, Refusal};
use crate::core::Coordinator;
use crate::core::jobs::Job;

const FIX: &str = "`GET /v1/jobs/{job}` shows its rounds and settlements";

fn numbers(job: &str, number: &str) -> Result<(JobId, u32), Refusal> {
    let bad = |text: &str| Refusal::bad("bad-number", format!("'{text}' is not a number"), FIX);
    Ok((job.parse().map_err(|_| bad(job))?, number.parse().map_err(|_| bad(number))?))
}

/// `GET /v1/jobs/{job}/settlements/{n}/work`.
pub async fn settlement(
    State(api): State<Arc<Api>>,
    Path((job, number)): Path<(String, String)>,
) -> Result<Json<SettlementWork>, Refusal> {
    let (job, number) = numbers(&job, &number)?;
    let found = api.core.read(move |core| settlement_work(core, job, number)).await?;
    found.map(Json)
}

/// `GET /v1/jobs/{job}/rounds/{round}`.
pub async fn round(
    State(api): State<Arc<Api>>,
    Path((job, number)): Path<(String, String)>,
) -> Result<Json<RoundWork>, Refusal> {
    let (job, number) = numbers(&job, &number)?;
    let found =
        api.core.read(move |core| core.jobs().get(&job).and_then(|job| round_work(job, number))).await?;
    found.map(Json).ok_or_else(|| {
        Refusal::unknown("unknown-round", format!("job {job} has no round of training {number} here"), FIX)
    })
}

fn settlement_work(core: &Coordinator, id: JobId, number: u32) -> Result<SettlementWork, Refusal> {
    let unknown = |what: String| Refusal::unknown("unknown-settlement", what, FIX);
    let job = core.jobs().get(&id).ok_or_else(|| unknown(format!("there is no job {id} here")))?;
    let Some(settlement) = job.settlement(number) else {
        let what = format!("settlement {number} of job {id}");
        return Err(if number < job.next {
            let message = format!("the receipts of {what} are kept no longer");
            Refusal::new(StatusCode::GONE, "evidence-gone", message, "ask a mirror")
        } else {
            unknown(format!("{what} has not begun"))
        });
    };
    let tasks = settlement.receipts().filter_map(|(slot, accepted)| {
        let task = TaskId { job: id, settlement: number, slot };
        Some(AcceptedTask {
            task,
            round: settlement.part_of(slot)?.round,
            place: settlement.slots[slot as usize].place,
            weights: job.work_of(task).as_ref().map(TaskWork::weights)?,
            receipt: hex(&codec::encode(&accepted.receipt.clone().into_wire())),
        })
    });
    Ok(SettlementWork {
        schema: SCHEMA,
        job: id,
        spec: job.spec_hash,
        settlement: number,
        tasks: tasks.collect(),
    })
}

fn round_work(job: &Job, number: u32) -> Option<RoundWork> {
    let round = job.rounds.get(number as usize)?;
    Some(RoundWork {
        schema: SCHEMA,
        job: job.id,
        spec: job.spec_hash,
        round: number,
        base: job.base_of(number)?,
        model: round.model,
        tasks: round.accepted.clone(),
    })
}
