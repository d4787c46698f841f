//! The page: started, asked, stopped; and ports that are taken.

#![cfg(unix)]

use crate::common::{Running, SMALL, bad, demo, fresh};
use crate::words;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

/// The address that the program says it serves on.
fn address(running: &mut Running) -> String {
    let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let line = lines.find_map(|line| line.unwrap().strip_prefix("serving http://").map(str::to_owned));
    // Read on, so that the program can go on talking.
    std::thread::spawn(move || lines.count());
    line.expect("an address is said").split_whitespace().next().unwrap().to_owned()
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_run_is_served_until_ctrl_c() {
    let mut running = Running::start(words!["serve", &demo().run, "--port", "0", "--threads", "1"]);
    let address = address(&mut running);
    assert!(get(&address, "/healthz").starts_with("HTTP/1.1 200"));
    let page = get(&address, "/");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<html"), "{page}");
    let answer = get(&address, "/api/similar/0");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("score"), "one thread is enough: {answer}");
    running.interrupt();
    assert_eq!(running.code(), 0, "a clean stop");
}

#[test]
fn an_index_is_served_with_its_model() {
    let demo = demo();
    let mut running =
        Running::start(words!["serve", "--index", demo.index(), "--model", demo.model(), "--port", "0"]);
    let address = address(&mut running);
    assert!(get(&address, "/healthz").starts_with("HTTP/1.1 200"));
    running.interrupt();
    assert_eq!(running.code(), 0);
}

#[test]
fn a_taken_port_is_said_before_any_training() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = fresh();
    let out = folder.path().join("run");
    let arguments = words!["demo", "--quick", "--data", &demo().data, "--out", &out, "--port", &port];
    bad(1, &[&format!("127.0.0.1:{port}"), "--port"], arguments.into_iter().chain(SMALL.map(Into::into)));
    assert!(!out.exists(), "nothing was begun");
    bad(1, &[&format!("127.0.0.1:{port}"), "--port"], words!["serve", &demo().run, "--port", &port]);
}

#[test]
fn a_folder_that_is_no_run_is_not_served() {
    let folder = fresh();
    bad(1, &["model.safetensors"], words!["serve", folder.path(), "--port", "0"]);
}
