//! The name of the model that requests ask for.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::error::LoadtestError;
use crate::scenario::Scenario;

/// Longest time for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server that is there may say that it is not ready, as one does that loads its model.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(500);
/// Most bytes of a list.
const MOST_BYTES: usize = 16 << 20;

/// The model that the scenario names, or the first that the server lists.
///
/// # Errors
/// No answer, or no list with a model: a run with a name that was made up would measure refusals.
pub async fn model(client: &Client, scenario: &Scenario) -> Result<String, LoadtestError> {
    if let Some(model) = &scenario.model {
        return Ok(model.clone());
    }
    let begun = Instant::now();
    loop {
        let (status, body) = list(client, &scenario.url).await?;
        let first =
            || Some(serde_json::from_slice::<serde_json::Value>(&body).ok()?["data"][0]["id"].as_str()?.to_owned());
        match first().filter(|_| status.is_success()) {
            Some(model) => return Ok(model),
            None if is_passing(status) && begun.elapsed() < PATIENCE => sleep(PAUSE).await,
            None => return Err(LoadtestError::NoModel { url: scenario.url.clone(), fault: fault(status) }),
        }
    }
}

/// Status and body of the server's list.
async fn list(client: &Client, url: &str) -> Result<(StatusCode, Vec<u8>), LoadtestError> {
    let unreachable = |fault: String| LoadtestError::Unreachable { url: url.to_owned(), fault };
    let late = || unreachable(format!("no list of models in {} seconds", TIMEOUT.as_secs()));
    let asked = timeout(TIMEOUT, client.ask("/v1/models", None)).await.map_err(|_| late())?;
    let (connection, response) = asked.map_err(|fault| unreachable(fault.detail))?;
    let status = response.status();
    let body = timeout(TIMEOUT, Limited::new(response.into_body(), MOST_BYTES).collect()).await.map_err(|_| late())?;
    let body = body.map_err(|error| unreachable(error.to_string()))?;
    client.keep(connection);
    Ok((status, body.to_bytes().into()))
}

/// Whether a server may soon answer otherwise.
fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

fn fault(status: StatusCode) -> String {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!("GET /v1/models is answered {status}: give --api-key")
        }
        status if status.is_success() => "GET /v1/models names none: give --model".to_owned(),
        status => format!("GET /v1/models is answered {status}: wait until the server is ready, or give --model"),
    }
}
