//! Questions to a person at a terminal. What is asked, and what is made of the answers, is apart from the terminal.

mod restore;
mod terminal;

pub(super) use restore::{Into, Place, which_backup, which_job, which_place};
pub(super) use terminal::{Terminal, is_possible};

use crate::error::Result;

/// Somebody who answers.
pub(super) trait Ask {
    /// Shows lines, each with its newline.
    fn say(&mut self, text: &str);

    /// Asks, and waits for a line: without blanks at its ends. `None` if there will be no more. An error if the run is to
    /// stop.
    async fn line(&mut self, question: &str) -> Result<Option<String>>;
}

/// Asks until the answer is yes or no. No answer, or the end of all answers, is no.
pub(super) async fn yes(ask: &mut impl Ask, question: &str) -> Result<bool> {
    loop {
        let Some(answer) = ask.line(&format!("{question} [y/N] ")).await? else { return Ok(false) };
        match answer.to_lowercase().as_str() {
            "y" | "yes" | "s" | "si" | "sí" => return Ok(true),
            "" | "n" | "no" => return Ok(false),
            _ => ask.say("Answer yes or no.\n"),
        }
    }
}

/// Asks until `read` understands the answer; what it gives as an error is said. An empty answer is `default`.
async fn until<T>(
    ask: &mut impl Ask,
    question: &str,
    default: &str,
    read: impl Fn(&str) -> std::result::Result<T, String>,
) -> Result<Option<T>> {
    let question = if default.is_empty() { format!("{question}: ") } else { format!("{question} [{default}]: ") };
    loop {
        let Some(answer) = ask.line(&question).await? else { return Ok(None) };
        let answer = if answer.is_empty() { default } else { &answer };
        match read(answer) {
            Ok(value) => return Ok(Some(value)),
            Err(why) => ask.say(&format!("{why}\n")),
        }
    }
}

/// The place from 0 of a number from 1 to `count`.
fn number(answer: &str, count: usize) -> Option<usize> {
    answer.parse::<usize>().ok()?.checked_sub(1).filter(|place| *place < count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Answers that were written down before.
    pub(super) struct Script {
        answers: VecDeque<&'static str>,
        pub(super) said: String,
    }

    impl Script {
        pub(super) fn new<const N: usize>(answers: [&'static str; N]) -> Self {
            Self { answers: answers.into(), said: String::new() }
        }
    }

    impl Ask for Script {
        fn say(&mut self, text: &str) {
            self.said.push_str(text);
        }

        async fn line(&mut self, question: &str) -> Result<Option<String>> {
            self.said.push_str(question);
            Ok(self.answers.pop_front().map(str::to_owned))
        }
    }

    /// Runs a future that never waits.
    pub(super) fn now<T>(future: impl Future<Output = T>) -> T {
        futures_util::FutureExt::now_or_never(future).expect("a script never waits")
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answers, wanted) in [
            (["yes", ""], true),
            (["Y", ""], true),
            (["sí", ""], true),
            (["what?", "y"], true),
            (["perhaps", "n"], false),
        ] {
            assert_eq!(now(yes(&mut Script::new(answers), "Do it?")).unwrap(), wanted, "{answers:?}");
        }
        assert!(!now(yes(&mut Script::new([""]), "Do it?")).unwrap(), "the default");
        assert!(!now(yes(&mut Script::new(["maybe"]), "Do it?")).unwrap(), "the end of input");
    }
}
