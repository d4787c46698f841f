//! A browser told what to do over the WebDriver protocol (W3C), as far as the page's test needs it: plain
//! HTTP with JSON bodies to a chromedriver of our own.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take to appear.
const PATIENCE: Duration = Duration::from_secs(20);

/// Chromium and chromedriver, if both are installed.
pub fn programs() -> Option<(PathBuf, PathBuf)> {
    let find = |names: &[&str]| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
            .find(|file| file.is_file())
    };
    Some((find(&["chromium", "chromium-browser", "google-chrome"])?, find(&["chromedriver"])?))
}

/// One browser with one window; it ends with the value.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser; `phone` gives it a touch screen of 375 x 740.
    pub fn start(chromium: &Path, chromedriver: &Path, phone: bool) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new(chromedriver)
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Self { driver, port, session: String::new(), _profile: profile };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < PATIENCE, "chromedriver does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        let options = browser.options(chromium, phone);
        let asked = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let session = browser.http("POST", "/session", &asked)["sessionId"].as_str().unwrap().to_owned();
        browser.session = format!("/session/{session}");
        browser
    }

    fn options(&self, chromium: &Path, phone: bool) -> Value {
        let profile = format!("--user-data-dir={}", self._profile.path().display());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--force-color-profile=srgb",
            "--window-size=1280,1000",
            &profile,
        ];
        let mut options = json!({ "binary": chromium, "args": arguments });
        if phone {
            let screen = json!({ "width": 375, "height": 740, "pixelRatio": 2, "touch": true });
            options["mobileEmulation"] = json!({ "deviceMetrics": screen });
        }
        options
    }

    fn http(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).unwrap();
        let value = serde_json::from_slice::<Value>(&answer).unwrap()["value"].clone();
        assert!(value.get("error").is_none(), "{path}: {}", value["message"]);
        value
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        self.http("POST", &format!("{}{path}", self.session), body)
    }

    pub fn open(&self, url: &str) {
        self.command("/url", &json!({ "url": url }));
    }

    /// Loads the page again and waits for it; a script's `location.reload()` returns while the old page still answers.
    pub fn reload(&self) {
        self.command("/refresh", &json!({}));
    }

    /// The value of a script's `return`.
    pub fn run(&self, script: &str) -> Value {
        self.command("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is true.
    pub fn wait(&self, expression: &str) {
        let start = Instant::now();
        while self.run(&format!("return Boolean({expression})")) != true {
            let text = || self.run("return document.body.innerText.slice(0, 400)");
            assert!(start.elapsed() < PATIENCE, "never true: {expression}; the page says {}", text());
            std::thread::sleep(Duration::from_millis(60));
        }
    }

    /// Presses keys one after the other; special keys have private-use characters.
    pub fn keys(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        self.act(&json!({ "type": "key", "id": "keys", "actions": strokes }));
    }

    /// Draws with the pen (or a mouse) down through places of the window.
    pub fn drag(&self, places: &[[i64; 2]]) {
        let step =
            |[x, y]: [i64; 2], time: u32| json!({ "type": "pointerMove", "duration": time, "x": x, "y": y });
        let mut moves = vec![step(places[0], 0), json!({ "type": "pointerDown", "button": 0 })];
        moves.extend(places[1..].iter().map(|&place| step(place, 40)));
        moves.push(json!({ "type": "pointerUp", "button": 0 }));
        self.act(&json!({
            "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" }, "actions": moves,
        }));
    }

    fn act(&self, source: &Value) {
        self.command("/actions", &json!({ "actions": [source] }));
    }

    /// Clicks the element that a selector finds first, where it is on the screen.
    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.command(&format!("/element/{element}/click"), &json!({}));
    }

    /// Gives a file to a file input.
    pub fn give_file(&self, selector: &str, file: &Path) {
        let element = self.find(selector);
        self.command(&format!("/element/{element}/value"), &json!({ "text": file }));
    }

    fn find(&self, selector: &str) -> String {
        let found = self.command("/element", &json!({ "using": "css selector", "value": selector }));
        found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned()
    }

    pub fn back(&self) {
        self.command("/back", &json!({}));
    }

    /// What the system's theme is said to be: `light` or `dark`.
    pub fn system_theme(&self, theme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": theme });
        let parameters = json!({ "features": [feature] });
        self.command(
            "/goog/cdp/execute",
            &json!({ "cmd": "Emulation.setEmulatedMedia", "params": parameters }),
        );
    }

    /// The window as a PNG, in base 64.
    pub fn screenshot(&self) -> String {
        let shot = self.http("GET", &format!("{}/screenshot", self.session), &json!({}));
        shot.as_str().unwrap().to_owned()
    }

    /// Warnings and errors on the console since last asked.
    pub fn complaints(&self) -> Vec<Value> {
        let log = self.command("/se/log", &json!({ "type": "browser" }));
        let grave = |entry: &Value| ["SEVERE", "WARNING"].iter().any(|level| entry["level"] == *level);
        // A hint about reading canvases back, which only a test does.
        let ours = |entry: &Value| entry["message"].as_str().unwrap_or("").contains("willReadFrequently");
        log.as_array().unwrap().iter().filter(|entry| grave(entry) && !ours(entry)).cloned().collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.http("DELETE", &self.session, &json!({}));
        }
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}
