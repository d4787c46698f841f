//! Every command explains itself.

use crate::common::{deepembed, good};

/// Commands below `path`, as its help lists them.
fn below(path: &[String]) -> Vec<Vec<String>> {
    let help = good(path.iter().map(String::as_str).chain(["--help"])).out;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.take_while(|line| line.starts_with("  ")).filter_map(|line| {
        let (name, about) = line.trim().split_once(' ').unwrap_or_else(|| panic!("`{line}` has no words"));
        assert!(!about.trim().is_empty(), "`{line}` has no words");
        (name != "help").then(|| name.to_owned())
    });
    names.map(|name| path.iter().cloned().chain([name]).collect()).collect()
}

/// Every command, the program itself first.
fn commands() -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut at = 0;
    while at < all.len() {
        let more = below(&all[at]);
        all.extend(more);
        at += 1;
    }
    all
}

#[test]
fn every_command_and_argument_has_words() {
    let commands = commands();
    assert!(commands.len() > 18, "{commands:?}");
    for command in commands {
        let help = good(command.iter().map(String::as_str).chain(["-h"])).out;
        let name = command.join(" ");
        let about = help.lines().next().unwrap();
        assert!(about.len() > 8 && !about.starts_with("Usage"), "{name}: `{about}`");
        let lines: Vec<&str> = help.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let item = line.trim_start();
            if line.starts_with("  ")
                && (item.starts_with('-') || item.starts_with('<') || item.starts_with('['))
            {
                // The words stand after two spaces, or indented on the next line.
                let words = item.split_once("  ").map_or("", |(_, words)| words.trim());
                let next = lines.get(at + 1).filter(|next| next.starts_with("          "));
                assert!(!words.is_empty() || next.is_some(), "{name}: `{line}` has no words");
            }
        }
    }
}

#[test]
fn exit_codes_and_version_are_said() {
    let help = good(["--help"]).out;
    for words in ["Exit codes: 0 ok", "5 leak found", "130 interrupted", "--threads", "--seed", "--json"] {
        assert!(help.contains(words), "{words}");
    }
    assert!(good(["--version"]).out.starts_with("deepembed "));
    let said = deepembed([] as [&str; 0]);
    assert!(said.code == 2 && said.err.contains("Commands:"), "{}", said.err);
    let said = deepembed(["trian"]);
    assert!(said.code == 2 && said.err.contains("train"), "a near name is offered: {}", said.err);
}
