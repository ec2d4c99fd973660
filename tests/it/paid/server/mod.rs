//! A small OpenAI-compatible server with scripted faults. It counts requests by what they ask.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

/// What the server does with a request.
#[derive(Clone)]
pub enum Act {
    /// A right answer.
    Answer,
    /// A right answer after a while.
    Slow(Duration),
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
}

type Script = dyn Fn(usize, usize) -> Act + Send + Sync;

/// The server; it ends with the process.
pub struct Server {
    address: String,
    seen: Arc<Mutex<BTreeMap<String, Seen>>>,
}

impl Server {
    /// Serves as `script` says for the number of a request, by first arrival, and how often it was asked before.
    pub fn start(script: impl Fn(usize, usize) -> Act + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<BTreeMap<String, Seen>>> = Arc::default();
        let script: Arc<Script> = Arc::new(script);
        let order: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, order, script) =
                    (Arc::clone(&log), Arc::clone(&order), Arc::clone(&script));
                // A client that has gone away is no fault of the server's.
                thread::spawn(move || drop(serve(stream, &log, &order, &*script)));
            }
        });
        Server { address, seen }
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
        self.seen.lock().unwrap().clone()
    }

    /// Requests received, repeats included.
    pub fn n_asked(&self) -> usize {
        self.seen().values().map(|seen| seen.asked).sum()
    }

    /// Right answers sent.
    pub fn n_answered(&self) -> usize {
        self.seen().values().map(|seen| seen.answered).sum()
    }
}

fn serve(
    stream: TcpStream,
    log: &Mutex<BTreeMap<String, Seen>>,
    order: &Mutex<Vec<String>>,
    script: &Script,
) -> std::io::Result<()> {
    let body = read_body(&stream)?;
    let name = body["messages"].to_string();
    let number = {
        let mut order = order.lock().unwrap();
        match order.iter().position(|known| *known == name) {
            Some(number) => number,
            None => {
                order.push(name.clone());
                order.len() - 1
            }
        }
    };
    let before = {
        let mut log = log.lock().unwrap();
        let seen = log.entry(name.clone()).or_default();
        seen.asked += 1;
        seen.asked - 1
    };
    let act = script(number, before);
    if let Act::Slow(time) = act {
        thread::sleep(time);
    }
    match act {
        Act::Answer | Act::Slow(_) => {
            send(&stream, "200 OK", &chat(&answer(&body)))?;
            log.lock().unwrap().entry(name).or_default().answered += 1;
        }
        Act::Content(content) => send(&stream, "200 OK", &chat(content))?,
        Act::Refuse => {
            let declined = json!({"choices": [{"message": {"content": null, "refusal": "no"}}]});
            send(&stream, "200 OK", &declined.to_string())?;
        }
        Act::Status(head, text) => send(&stream, head, &text)?,
        Act::Cut => {
            let text = chat(&answer(&body));
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
            (&stream).write_all(head.as_bytes())?;
            (&stream).write_all(&text.as_bytes()[..text.len() / 2])?;
        }
        Act::Close => {}
        Act::Hang => thread::sleep(Duration::from_secs(120)),
    }
    Ok(())
}

fn send(mut stream: &TcpStream, head: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
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
    match asked.contains("score_without") {
        true => json!({"score_without": sum % 50, "score_after": sum % 97}).to_string(),
        false => json!({"explanation": format!("things of kind {}", sum % 1000)}).to_string(),
    }
}

fn read_body(stream: &TcpStream) -> std::io::Result<Value> {
    let mut reader = BufReader::new(stream);
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
    Ok(serde_json::from_slice(&body)?)
}
