//! A small OpenAI-compatible server with scripted faults. It counts requests by what they ask.

mod batches;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

pub use batches::{Batches, Line, Silence};

use serde_json::{Value, json};

/// What the server does with a request.
#[derive(Clone)]
pub enum Act {
    /// A right answer.
    Answer,
    /// A right answer after a while.
    Slow(Duration),
    /// A right answer, made into something else.
    Changed(fn(&str) -> String),
    /// A chat completion with this content.
    Content(&'static str),
    /// The model declines.
    Refuse,
    /// Status line with headers, and a body.
    Status(&'static str, String),
    /// Half of a right answer, then the end of the connection.
    Cut,
    /// The end of the connection.
    Close,
    /// Nothing, for longer than anybody waits.
    Hang,
}

/// What the server has seen of one request.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Times it was asked.
    pub asked: usize,
    /// Times a right answer was sent whole.
    pub answered: usize,
    /// When it was asked.
    pub at: Vec<Instant>,
}

type Script = dyn Fn(usize, usize) -> Act + Send + Sync;

/// The server; it ends with the process.
pub struct Server {
    address: String,
    state: Arc<State>,
}

struct State {
    seen: Mutex<BTreeMap<String, Seen>>,
    /// Numbers of requests by what they ask.
    numbers: Mutex<BTreeMap<String, usize>>,
    batches: Mutex<Batches>,
    script: Box<Script>,
    n_connections: AtomicUsize,
    n_now: AtomicUsize,
    n_most: AtomicUsize,
}

impl State {
    /// Counts a request; its number, and how often it was asked before.
    fn asked(&self, body: &Value) -> (usize, usize) {
        let name = body["messages"].to_string();
        let number = {
            let mut numbers = self.numbers.lock().unwrap();
            let next = numbers.len();
            *numbers.entry(name.clone()).or_insert(next)
        };
        let mut seen = self.seen.lock().unwrap();
        let seen = seen.entry(name).or_default();
        seen.asked += 1;
        seen.at.push(Instant::now());
        (number, seen.asked - 1)
    }

    /// Counts a right answer.
    fn answered(&self, body: &Value) {
        let name = body["messages"].to_string();
        self.seen.lock().unwrap().entry(name).or_default().answered += 1;
    }
}

impl Server {
    /// Serves as `script` says for the number of a request, by first arrival, and how often it was
    /// asked before.
    pub fn start(script: impl Fn(usize, usize) -> Act + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            seen: Mutex::default(),
            numbers: Mutex::default(),
            batches: Mutex::default(),
            script: Box::new(script),
            n_connections: AtomicUsize::new(0),
            n_now: AtomicUsize::new(0),
            n_most: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A client that has gone away is no fault of the server's.
                thread::spawn(move || drop(serve(stream, &state)));
            }
        });
        Server { address, state }
    }

    /// Batches, and what is to be done with them.
    pub fn batches(&self) -> MutexGuard<'_, Batches> {
        self.state.batches.lock().unwrap()
    }

    /// Base URL of the server.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The judge's identity behind this server.
    pub fn judge(&self) -> String {
        format!("gpt-4o-mini@{}", self.address)
    }

    /// What was seen of each request, by its messages.
    pub fn seen(&self) -> BTreeMap<String, Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// What was seen of the request with a number.
    pub fn asked_as(&self, number: usize) -> Seen {
        let numbers = self.state.numbers.lock().unwrap();
        let (name, _) = numbers.iter().find(|(_, n)| **n == number).unwrap();
        self.seen()[name].clone()
    }

    /// Requests received, repeats included.
    pub fn n_asked(&self) -> usize {
        self.seen().values().map(|seen| seen.asked).sum()
    }

    /// Connections that clients have made.
    pub fn n_connections(&self) -> usize {
        self.state.n_connections.load(Relaxed)
    }

    /// Questions that were under way at once, at most.
    pub fn n_most(&self) -> usize {
        self.state.n_most.load(Relaxed)
    }

    /// Right answers sent.
    pub fn n_answered(&self) -> usize {
        self.seen().values().map(|seen| seen.answered).sum()
    }
}

/// Answers the requests of a connection, one after the other, until one ends it.
fn serve(stream: TcpStream, state: &State) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    state.n_connections.fetch_add(1, Relaxed);
    let mut reader = BufReader::new(&stream);
    loop {
        let (method, path, body) = read_request(&mut reader)?;
        if !path.starts_with("/v1/chat/completions") {
            // Faults meant for everything meet files and batches too.
            let fault = (state.script)(usize::MAX, 0);
            let answer = match fault {
                Act::Status(head, text) => Some((head, text)),
                _ => batches::serve(state, &method, &path, &body),
            };
            match answer {
                Some((head, text)) => send(&stream, head, &text)?,
                None => return Ok(()),
            }
            continue;
        }
        let body: Value = serde_json::from_str(&body)?;
        let now = state.n_now.fetch_add(1, Relaxed) + 1;
        state.n_most.fetch_max(now, Relaxed);
        let goes_on = act(&stream, &body, state);
        state.n_now.fetch_sub(1, Relaxed);
        if !goes_on? {
            return Ok(());
        }
    }
}

/// Does with a question what the script says; whether the connection goes on.
fn act(mut stream: &TcpStream, body: &Value, state: &State) -> std::io::Result<bool> {
    let (number, before) = state.asked(body);
    let act = (state.script)(number, before);
    if let Act::Slow(time) = act {
        thread::sleep(time);
    }
    match act {
        Act::Answer | Act::Slow(_) => {
            send(stream, "200 OK", &chat(&answer(body)))?;
            state.answered(body);
        }
        Act::Changed(change) => {
            send(stream, "200 OK", &chat(&change(&answer(body))))?;
            state.answered(body);
        }
        Act::Content(content) => send(stream, "200 OK", &chat(content))?,
        Act::Refuse => {
            let declined = json!({"choices": [{"message": {"content": null, "refusal": "no"}}]});
            send(stream, "200 OK", &declined.to_string())?;
        }
        Act::Status(head, text) => send(stream, head, &text)?,
        Act::Cut => {
            let text = chat(&answer(body));
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
            stream.write_all(head.as_bytes())?;
            stream.write_all(&text.as_bytes()[..text.len() / 2])?;
            return Ok(false);
        }
        Act::Close => return Ok(false),
        Act::Hang => {
            thread::sleep(Duration::from_secs(120));
            return Ok(false);
        }
    }
    Ok(true)
}

fn send(mut stream: &TcpStream, head: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {head}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes())
}

fn chat(content: &str) -> String {
    json!({
        "choices": [{"message": {"content": content}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 300, "completion_tokens": 20},
    })
    .to_string()
}

/// An answer that depends on the question alone.
fn answer(body: &Value) -> String {
    let asked = body["messages"].to_string();
    let sum: usize = asked.bytes().map(usize::from).sum();
    let answer = if asked.contains("score_without") {
        json!({"score_without": sum % 50, "score_after": sum % 97})
    } else if asked.contains("Pieces:") {
        json!({"active": [sum % 14]})
    } else {
        json!({"explanation": format!("things of kind {}", sum % 1000)})
    };
    answer.to_string()
}

/// Method, path and body of the next request; the end of the connection is an error.
fn read_request(reader: &mut impl BufRead) -> std::io::Result<(String, String, String)> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = first.split_whitespace().map(str::to_owned);
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let body = String::from_utf8(body).map_err(std::io::Error::other)?;
    Ok((method, path, body))
}
