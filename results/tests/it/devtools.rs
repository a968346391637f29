//! A hand in a real browser: mouse, wheel, keys and fingers, by the DevTools protocol over a pipe.
//! <https://chromedevtools.github.io/devtools-protocol/>

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::ALONE;

const PATIENCE: Duration = Duration::from_secs(30);

/// A page in a browser of its own; both go when it is dropped.
pub struct Hand {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    last_id: u64,
    _profile: TempDir,
}

impl Hand {
    /// Opens a page and waits until it says that it is ready.
    pub fn at(browser: &Path, page: &Path) -> Hand {
        let profile = TempDir::new().unwrap();
        // The protocol wants descriptors 3 and 4: a shell can place them.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(browser)
            .args(ALONE)
            .args(["--remote-debugging-pipe", "--window-size=1200,900"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut hand = Hand { child, to, from, session: None, last_id: 0, _profile: profile };
        let target = hand.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = hand.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        hand.session = attached["sessionId"].as_str().map(str::to_owned);
        hand.call("Emulation.setTouchEmulationEnabled", json!({ "enabled": true }));
        hand.call("Page.navigate", json!({ "url": format!("file://{}", page.display()) }));
        hand.until("the page is ready", "document.body?.dataset.ready ?? ''", |ready| ready != "");
        hand
    }

    /// Calls a method; its result.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        loop {
            let mut answer = Vec::new();
            let read = self.from.read_until(0, &mut answer).unwrap();
            assert!(read > 0, "the browser has ended");
            answer.pop();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            if answer["id"] == self.last_id {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// What an expression is worth in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let result =
            self.call("Runtime.evaluate", json!({ "expression": expression, "returnByValue": true }));
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is worth what is wanted; its value.
    pub fn until(&mut self, what: &str, expression: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let value = self.value(expression);
            if wanted(&value) {
                return value;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: still {value}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A mouse event: `mousePressed`, `mouseMoved`, `mouseReleased`.
    pub fn mouse(&mut self, kind: &str, (x, y): (f64, f64)) {
        let (button, buttons) = if kind == "mouseMoved" { ("none", 1) } else { ("left", 1) };
        let params =
            json!({ "type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1 });
        self.call("Input.dispatchMouseEvent", params);
    }

    /// Turns the wheel.
    pub fn wheel(&mut self, (x, y): (f64, f64), delta: f64) {
        let params = json!({ "type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": delta });
        self.call("Input.dispatchMouseEvent", params);
    }

    /// Presses a key and lets it go.
    pub fn key(&mut self, key: &str) {
        let text = if key.chars().count() == 1 { key } else { "" };
        let down = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        self.call("Input.dispatchKeyEvent", json!({ "type": down, "key": key, "text": text }));
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key }));
    }

    /// Fingers: `touchStart`, `touchMove` with where they are, `touchEnd` with none.
    pub fn touch(&mut self, kind: &str, fingers: &[(f64, f64)]) {
        let points: Vec<Value> =
            fingers.iter().enumerate().map(|(id, (x, y))| json!({ "x": x, "y": y, "id": id })).collect();
        self.call("Input.dispatchTouchEvent", json!({ "type": kind, "touchPoints": points }));
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
