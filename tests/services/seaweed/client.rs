//! Amazon's own client for Python, boto3, to ask what a server holds.

use super::super::tools::python;
use super::{ACCESS_KEY, SECRET_KEY};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// boto3 in a process of its own, which ends with its standard input.
pub(super) struct Client {
    process: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Client {
    pub(super) fn new(port: u16) -> Self {
        let mut command = Command::new(python());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").env("HOME", "/nonexistent");
        command.args(["-I", "-c", include_str!("client.py"), &format!("http://127.0.0.1:{port}")]);
        command.args([ACCESS_KEY, SECRET_KEY]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("python3");
        let commands = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, commands, answers }
    }

    pub(super) fn ask(&mut self, what: &str, with: &Value) -> Result<Value, String> {
        let mut line = json!({"do": what, "with": with}).to_string();
        line.push('\n');
        self.commands.as_mut().unwrap().write_all(line.as_bytes()).expect("the S3 client runs");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the S3 client answers");
        let mut answer: Value = serde_json::from_str(&answer).expect("the S3 client answers in JSON");
        match answer["error"].take() {
            Value::Null => Ok(answer["ok"].take()),
            error => Err(error.to_string()),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.process.wait();
    }
}
