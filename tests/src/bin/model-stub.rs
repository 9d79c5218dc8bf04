//! A stand-in for a model: an OpenAI-compatible server that answers the same thing to everybody, or asks for the commands
//! that it is told of, and remembers what it was asked. The demo and the e2e tests point an Agent's provider at it, so
//! that the real agent program runs its whole way without a model, and so that one can see which prompt and context arrived.
//!
//! * `POST /v1/chat/completions`, streaming or not; `GET /v1/models`
//! * `GET /requests`: what was received so far, oldest first, at most [`REMEMBERED`]; each also one line on stdout
//! * the model's name decides how it answers: `m` at once, `slow-N` after N seconds, `fail-N` with HTTP status N; `shell` first
//!   asks for each line of the user's that begins with `$ `, one after the other, through the tool [`SHELL`]
//!
//! It listens on port 8080 of every address, or where its one argument says.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

/// Requests kept for `GET /requests`; older ones are forgotten.
const REMEMBERED: usize = 1000;

/// The tool of OpenCode that runs a command.
const SHELL: &str = "bash";

/// What an answer is said to have cost, in tokens: the same each time, so that tests can add it up.
const PROMPT_TOKENS: u32 = 11;
const COMPLETION_TOKENS: u32 = 7;

type Requests = Arc<Mutex<VecDeque<Value>>>;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "0.0.0.0:8080".to_owned());
    let app = Router::new()
        .route("/v1/chat/completions", post(complete))
        .route("/v1/models", get(models))
        .route("/requests", get(requests))
        .with_state(Requests::default());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    eprintln!("model-stub: listening on {}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(terminated()).await
}

/// Ends with SIGTERM: as PID 1 of a container the process would otherwise ignore it.
async fn terminated() {
    if let Ok(mut signal) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        signal.recv().await;
    }
}

async fn models() -> Json<Value> {
    Json(json!({"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "model-stub"}]}))
}

async fn requests(State(seen): State<Requests>) -> Json<Value> {
    Json(seen.lock().iter().cloned().collect())
}

/// The part of a request that the answer depends on.
#[derive(Deserialize)]
struct Asked {
    model: String,
    #[serde(default)]
    stream: bool,
    messages: Vec<Message>,
    /// Requests for a title have none.
    #[serde(default)]
    tools: Vec<Value>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Value,
}

async fn complete(State(seen): State<Requests>, Json(request): Json<Value>) -> Response {
    remember(&seen, &request);
    let asked: Asked = match serde_json::from_value(request) {
        Ok(asked) => asked,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &format!("no chat completion: {error}")),
    };
    let answer = match behaviour(&asked.model) {
        Behaviour::Fail(status) => return refuse(status, "the model stub was told to fail"),
        Behaviour::AnswerAfter(delay) => {
            tokio::time::sleep(delay).await;
            text(&asked.messages)
        }
        Behaviour::Shell => command(&asked).unwrap_or_else(|| text(&asked.messages)),
    };
    match asked.stream {
        true => stream(&asked.model, answer),
        false => Json(whole(&asked.model, answer)).into_response(),
    }
}

fn remember(seen: &Requests, request: &Value) {
    let record =
        json!({"model": request["model"], "stream": request["stream"], "messages": request["messages"]});
    println!("{record}");
    let mut seen = seen.lock();
    if seen.len() == REMEMBERED {
        seen.pop_front();
    }
    seen.push_back(record);
}

enum Behaviour {
    AnswerAfter(Duration),
    Fail(StatusCode),
    Shell,
}

/// Reads a model's name; one that says nothing answers at once.
fn behaviour(model: &str) -> Behaviour {
    if model == "shell" {
        return Behaviour::Shell;
    }
    let number = |prefix: &str| model.strip_prefix(prefix)?.parse::<u16>().ok();
    if let Some(status) = number("fail-").and_then(|code| StatusCode::from_u16(code).ok()) {
        return Behaviour::Fail(status);
    }
    Behaviour::AnswerAfter(Duration::from_secs(number("slow-").unwrap_or(0).into()))
}

/// What a model says: a text, or that a command be run.
enum Answer {
    Text(String),
    Command {
        /// How many came before it.
        number: usize,
        command: String,
    },
}

/// The next command that the user told of: as many were run as tools have answered.
fn command(asked: &Asked) -> Option<Answer> {
    asked.tools.iter().find(|tool| tool["function"]["name"] == SHELL)?;
    let by = |role: &'static str| asked.messages.iter().filter(move |message| message.role == role);
    let number = by("tool").count();
    let said: Vec<_> = by("user").map(|message| text_of(&message.content)).collect();
    let lines = said.iter().flat_map(|text| text.lines());
    let command = lines.filter_map(|line| line.trim().strip_prefix("$ ")).nth(number)?;
    Some(Answer::Command { number, command: command.to_owned() })
}

/// The first line of what the user said last, so that a log shows which Task was answered.
fn text(messages: &[Message]) -> Answer {
    let said =
        messages.iter().rev().find(|message| message.role == "user").map(|message| text_of(&message.content));
    let line = said
        .as_deref()
        .and_then(|text| text.lines().find(|line| !line.trim().is_empty()))
        .unwrap_or("nothing");
    let short: String = line.trim().chars().take(120).collect();
    Answer::Text(format!("The model stub was asked: {short}"))
}

/// Content is a string or a list of parts.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"error": {"message": message, "type": "model_stub", "code": status.as_u16()}})))
        .into_response()
}

/// The call of the tool, as both kinds of answers have it.
fn call(number: usize, command: &str) -> Value {
    let arguments = json!({"command": command, "description": "What the user told of"}).to_string();
    let function = json!({"name": SHELL, "arguments": arguments});
    json!([{"index": 0, "id": format!("call-{number}"), "type": "function", "function": function}])
}

/// Why an answer ends.
fn finish(answer: &Answer) -> &'static str {
    match answer {
        Answer::Text(_) => "stop",
        Answer::Command { .. } => "tool_calls",
    }
}

fn whole(model: &str, answer: Answer) -> Value {
    let finish_reason = finish(&answer);
    let message = match answer {
        Answer::Text(text) => json!({"role": "assistant", "content": text}),
        Answer::Command { number, command } => {
            json!({"role": "assistant", "content": null, "tool_calls": call(number, &command)})
        }
    };
    json!({
        "id": "stub", "object": "chat.completion", "created": 0, "model": model, "usage": usage(),
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}],
    })
}

/// The answer as server-sent events: its words or its call, the end with the usage, and `[DONE]`.
fn stream(model: &str, answer: Answer) -> Response {
    let chunk = |delta: Value, finish: Value, usage: Value| {
        json!({
            "id": "stub", "object": "chat.completion.chunk", "created": 0, "model": model, "usage": usage,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        })
        .to_string()
    };
    let mut lines = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null, Value::Null)];
    let end = chunk(json!({}), json!(finish(&answer)), usage());
    match answer {
        Answer::Text(text) => lines.extend(
            text.split_inclusive(' ').map(|word| chunk(json!({"content": word}), Value::Null, Value::Null)),
        ),
        Answer::Command { number, command } => {
            lines.push(chunk(json!({"tool_calls": call(number, &command)}), Value::Null, Value::Null));
        }
    }
    lines.push(end);
    lines.push("[DONE]".to_owned());
    let events = lines.into_iter().map(|line| Ok::<_, Infallible>(Event::default().data(line)));
    Sse::new(futures::stream::iter(events)).into_response()
}

fn usage() -> Value {
    json!({
        "prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS,
        "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
    })
}
